/**
 * Every system call that the addon makes fails, with every errno that its manual page lets expect, one after the other, in the
 * running product: the master stays up, says what failed, and all is well when it has passed. The table is checked against the
 * addon itself (test/setup/faults.sh): a call without a row fails a test of its own.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { type Fault, Faults, faultyCalls } from "../support/faults.ts";
import { fixture, type Master, run, startMaster } from "../support/master.ts";
import { descriptorsAtRest, restsWith, statusField } from "../support/processes.ts";
import { sendRaw } from "../support/wire.ts";

/** What makes the master call it. */
type Act =
  | ("command" | "probe" | "death" | "reload" | "upgrade" | "rebind" | "idle" | "crash" | "crash of a thread")
  | ("start" | "failing start" | "start of nothing" | "start on a terminal");

interface Row extends Omit<Fault, "errno"> {
  readonly act: Act;
  /** By space. */
  readonly errnos: string;
  /** What the master says, or for a start, before it exits. Absent: why nothing need be said stands in `because`. */
  readonly says?: RegExp;
  readonly because?: string;
}

/** Interrupted calls are made again, and nobody notices. */
const silent = new Set(["EINTR"]);

const couldNotStart = (step: string) => new RegExp(`could not be started: ${step} failed with`);

/** Every option that makes it call more; and with `notify`, the queues and sd_notify instead of the private connections. */
const shapes = {
  plain: {
    args: [
      ...["-b", "127.0.0.1:0", "-m", "manual", "-n", "2", "-s", "0.1", "--ack-timeout", "10", "-k", "-g"],
      ...["--nice", "0:1", "--worker-user", "nobody", "--umask", "022", "--oom-score-adj", "1", "--rlimit", "core=0"],
      ...["--upgrade-max-deaths", "1"],
    ],
    program: [fixture("http-server.pl")],
  },
  notify: {
    args: ["-b", "127.0.0.1:0,queues=per-worker", "-m", "notify", "-n", "2", "-s", "0.1", "--ack-timeout", "10"],
    program: [fixture("notifies-ready.pl")],
  },
  capture: {
    args: ["-b", "127.0.0.1:0", "-m", "manual", "-n", "2", "-s", "0.1", "--ack-timeout", "10", "--capture-stderr"],
    program: [fixture("http-server.pl")],
  },
  preload: {
    args: ["-b", "127.0.0.1:0", "-m", "0.01", "-n", "2", "-s", "0.1", "-p", fixture("preload/app.py")],
    // Where it is not preloaded it is started, and must live.
    program: ["python3", "-W", "ignore", fixture("notifier.py"), "never"],
  },
  rebinding: { args: ["-m", "0.01", "-n", "2"], program: [fixture("idle.pl")] },
} as const;

const rows: { readonly [shape in keyof typeof shapes]: readonly Row[] } = {
  plain: [
    // The command socket and the probes.
    {
      call: "accept4",
      act: "command",
      errnos: "EMFILE ENFILE ENOMEM ENOBUFS EPERM EINTR",
      says: /cannot accept/,
      times: 3,
    },
    {
      call: "accept4",
      act: "command",
      errnos: "ECONNABORTED EAGAIN",
      because: "that client is gone; the next is taken",
    },
    { call: "accept4", act: "probe", errnos: "EMFILE ENFILE ENOMEM", because: "the probe waits 100 ms", times: 2 },
    { call: "getsockopt", act: "command", errnos: "ENOBUFS ENOMEM", says: /cannot be identified/ },
    {
      call: "read",
      act: "command",
      errnos: "ECONNRESET ENOMEM EIO EINTR",
      because: "the client is let go, and may come again",
    },
    { call: "read", act: "probe", errnos: "ECONNRESET ENOMEM", because: "the probe is let go, and comes again" },
    {
      call: "write",
      act: "command",
      errnos: "EPIPE ECONNRESET ENOBUFS ENOMEM EAGAIN EINTR",
      because: "there is nobody to tell",
    },
    { call: "write", act: "probe", errnos: "EPIPE ENOBUFS EAGAIN EINTR", because: "there is nobody to tell" },
    { call: "epoll_ctl", act: "command", errnos: "ENOMEM ENOSPC", because: "the client is let go", times: 2 },
    { call: "epoll_ctl", act: "probe", errnos: "ENOMEM ENOSPC", because: "the probe is let go", times: 2 },
    { call: "epoll_wait", act: "command", errnos: "EINTR", because: "it is made again" },
    { call: "fcntl", act: "probe", errnos: "EBADF", because: "the probe is let go" },
    // Starting and burying workers.
    { call: "clone", act: "death", errnos: "EAGAIN ENOMEM EPERM", says: couldNotStart("clone") },
    { call: "socketpair", act: "death", errnos: "EMFILE ENFILE ENOMEM ENOBUFS", says: couldNotStart("socketpair") },
    {
      call: "execve",
      act: "death",
      errnos: "ENOMEM E2BIG EACCES ENOENT ETXTBSY EIO EMFILE EPERM EAGAIN",
      says: couldNotStart("execve"),
      where: "elsewhere",
    },
    { call: "chdir", act: "death", errnos: "ENOENT ENOMEM EIO ESTALE", says: couldNotStart("chdir"), times: 2 },
    { call: "dup2", act: "death", errnos: "EMFILE EINTR", says: couldNotStart("dup2") },
    { call: "fcntl", act: "death", errnos: "EMFILE EINVAL", says: couldNotStart("dup"), where: "elsewhere" },
    { call: "setpgid", act: "death", errnos: "EPERM EACCES", says: couldNotStart("setpgid") },
    { call: "setpriority", act: "death", errnos: "EACCES EPERM", says: couldNotStart("setpriority") },
    {
      call: "open",
      act: "death",
      errnos: "EMFILE ENFILE EACCES ENOMEM",
      says: couldNotStart("oom_score_adj"),
      where: "elsewhere",
    },
    {
      call: "write",
      act: "death",
      errnos: "EACCES EPERM ENOMEM",
      says: couldNotStart("oom_score_adj"),
      where: "elsewhere",
    },
    { call: "prctl", act: "death", errnos: "EINVAL EPERM", says: couldNotStart("prctl") },
    { call: "SYS_prlimit64", act: "death", errnos: "EPERM EINVAL", says: couldNotStart("setrlimit") },
    { call: "SYS_setgroups", act: "death", errnos: "EPERM ENOMEM", says: couldNotStart("setgroups") },
    { call: "SYS_setresgid", act: "death", errnos: "EPERM EAGAIN", says: couldNotStart("setresgid") },
    { call: "SYS_setresuid", act: "death", errnos: "EPERM EAGAIN", says: couldNotStart("setresuid") },
    { call: "SYS_close_range", act: "death", errnos: "ENOSYS EPERM", because: "descriptors are closed one by one" },
    { call: "SYS_rt_sigaction", act: "death", errnos: "EINVAL", because: "libc's own two signals answer so each time" },
    { call: "SYS_rt_sigprocmask", act: "death", errnos: "EINVAL", because: "the kernel refuses a wrong size alone" },
    { call: "wait4", act: "death", errnos: "EINTR", because: "it is made again" },
    // The master's own image, and the proof of the next.
    {
      call: "memory-write",
      act: "death",
      errnos: "ENOSPC ENOMEM EIO",
      says: /The state cannot be kept for a crash: (ENOSPC|ENOMEM|EIO): on purpose, write. Trying again/,
    },
    { call: "memory-write", act: "upgrade", errnos: "ENOSPC ENOMEM", says: /Upgrade failed: .*on purpose/, times: 20 },
    {
      call: "SYS_memfd_create",
      act: "upgrade",
      errnos: "ENOMEM EMFILE ENFILE",
      says: /Upgrade failed: .*memfd_create/,
    },
    { call: "SYS_memfd_create", act: "upgrade", errnos: "EMFILE", says: /Upgrade failed: .*memfd_create/, after: 1 },
    {
      call: "SYS_memfd_create",
      act: "upgrade",
      errnos: "ENFILE",
      says: /could not replace the master's image: .*memfd_create/,
      after: 2,
    },
    { call: "clone", act: "upgrade", errnos: "EAGAIN ENOMEM", says: /Upgrade failed: .*clone/ },
    { call: "execve", act: "upgrade", errnos: "ENOMEM EACCES", says: /Upgrade failed: .*execve/, where: "elsewhere" },
    {
      call: "execve",
      act: "upgrade",
      errnos: "ENOMEM E2BIG ENOENT EACCES EAGAIN EPERM EIO",
      says: /could not replace the master's image/,
      where: "inMaster",
    },
    {
      call: "SYS_rt_sigprocmask",
      act: "reload",
      errnos: "EINVAL",
      says: /Reload failed: .*sigprocmask/,
      where: "inMaster",
      after: 2,
    },
    {
      call: "SYS_memfd_create",
      act: "reload",
      errnos: "ENOMEM EMFILE",
      says: /crash of the master would be its end/,
      where: "inMaster",
      after: 3,
    },
    {
      call: "SYS_sigaltstack",
      act: "reload",
      errnos: "ENOMEM EPERM",
      says: /crash of the master would be its end/,
      where: "inMaster",
    },
    {
      call: "mmap",
      act: "reload",
      errnos: "ENOMEM EAGAIN",
      says: /crash of the master would be its end/,
      where: "inMaster",
      after: 1,
    },
    {
      call: "epoll_create1",
      act: "reload",
      errnos: "EMFILE ENFILE ENOMEM",
      because: "whoever waits is heard 100 ms later",
      where: "inMaster",
    },
    {
      call: "realloc",
      act: "reload",
      errnos: "ENOMEM",
      because: "whoever waits is heard 100 ms later",
      where: "inMaster",
    },
    {
      call: "open",
      act: "reload",
      errnos: "EMFILE ENFILE ENOMEM",
      says: /Reload failed: .*open (EMFILE|ENFILE|ENOMEM)/,
      where: "inMaster",
    },
    {
      call: "read",
      act: "reload",
      errnos: "ENOMEM EIO",
      because: "signals are held as far as can be",
      where: "inMaster",
      after: 2,
    },
    {
      call: "close",
      act: "reload",
      errnos: "EINTR EIO",
      because: "the kernel has closed it all the same",
      where: "inMaster",
    },
    {
      call: "sigaction",
      act: "reload",
      errnos: "EINVAL",
      because: "signals are held as far as can be",
      where: "inMaster",
    },
    {
      call: "SYS_getdents64",
      act: "reload",
      errnos: "ENOENT ENOMEM",
      because: "signals are held as far as can be",
      where: "inMaster",
    },
    {
      call: "socket",
      act: "reload",
      errnos: "EMFILE ENFILE ENOMEM ENOBUFS",
      because: "the service manager is not told, at level debug",
      where: "inMaster",
    },
    {
      call: "connect",
      act: "reload",
      errnos: "ECONNREFUSED ENOENT EAGAIN EACCES EINTR",
      because: "the service manager is not told, at level debug",
      where: "inMaster",
    },
    { call: "madvise", act: "idle", errnos: "ENOMEM", because: "memory stays as it is" },
  ],
  notify: [
    {
      call: "recvmsg",
      act: "death",
      errnos: "ENOMEM ENOBUFS ECONNRESET EINTR",
      because: "the datagram is still there",
    },
    { call: "setsockopt", act: "death", errnos: "ENOMEM", says: /cannot be steered/ },
    { call: "poll", act: "death", errnos: "ENOMEM EINTR", says: /worker .* was killed by SIGKILL/ },
  ],
  capture: [
    { call: "pipe2", act: "death", errnos: "EMFILE ENFILE ENOMEM", says: /stderr is not captured: pipe/ },
    // Whichever of the log and the relay asks first.
    { call: "poll", act: "death", errnos: "ENOMEM", because: "what workers wrote is relayed 100 ms later", times: 3 },
  ],
  preload: [
    { call: "sendmsg", act: "death", errnos: "ENOBUFS ENOMEM EAGAIN EINTR", because: "it is sent again 100 ms later" },
    {
      call: "recvmsg",
      act: "death",
      errnos: "ENOMEM ENOBUFS ECONNRESET EINTR",
      because: "what was said is still there",
    },
    { call: "socketpair", act: "upgrade", errnos: "EMFILE ENFILE ENOMEM", says: /not preloaded: .*socketpair/ },
    { call: "clone", act: "upgrade", errnos: "EAGAIN ENOMEM", says: /not preloaded: .*clone/, after: 1 },
    { call: "setsockopt", act: "upgrade", errnos: "ENOMEM", says: /not preloaded: .*setsockopt/ },
    {
      call: "sendmsg",
      act: "upgrade",
      errnos: "EMSGSIZE",
      says: /not preloaded: .*cannot be asked to fork/,
      after: 1,
    },
  ],
  rebinding: [
    {
      call: "socket",
      act: "rebind",
      errnos: "EMFILE ENFILE ENOMEM ENOBUFS",
      says: /Reload failed: .*cannot/,
      where: "elsewhere",
    },
    {
      call: "socket",
      act: "rebind",
      errnos: "EMFILE ENFILE ENOMEM ENOBUFS",
      says: /Cannot bind 127.0.0.1:0/,
      // The first tells the service manager.
      after: 1,
      where: "inMaster",
    },
    {
      call: "bind",
      act: "rebind",
      errnos: "EADDRINUSE EADDRNOTAVAIL EACCES ENOMEM",
      says: /Cannot bind 127.0.0.1:0/,
      where: "inMaster",
    },
    { call: "listen", act: "rebind", errnos: "EADDRINUSE", says: /Cannot bind 127.0.0.1:0/, where: "inMaster" },
    { call: "setsockopt", act: "rebind", errnos: "ENOMEM", says: /Cannot bind 127.0.0.1:0/, where: "inMaster" },
    { call: "getsockname", act: "rebind", errnos: "ENOBUFS", says: /Cannot bind 127.0.0.1:0/, where: "inMaster" },
    {
      call: "getsockopt",
      act: "rebind",
      errnos: "ENOBUFS",
      says: /Cannot bind 127.0.0.1:0/,
      where: "inMaster",
      // The first identifies who asks.
      after: 1,
    },
  ],
};

/** Calls of a start. One that fails leaves nothing behind, and says why; or it starts without. */
const starts: readonly Row[] = [
  {
    call: "socket",
    act: "failing start",
    errnos: "EMFILE ENFILE ENOMEM ENOBUFS EACCES EAFNOSUPPORT",
    says: /EMFILE|ENFILE|ENOMEM|ENOBUFS|EACCES|EAFNOSUPPORT/,
  },
  { call: "bind", act: "failing start", errnos: "EADDRINUSE EADDRNOTAVAIL EACCES ENOMEM", says: /cannot/i },
  { call: "listen", act: "failing start", errnos: "EADDRINUSE EOPNOTSUPP", says: /cannot/i },
  { call: "setsockopt", act: "failing start", errnos: "ENOMEM EPERM ENOPROTOOPT", says: /Cannot bind 127.0.0.1:0/ },
  { call: "getsockname", act: "failing start", errnos: "ENOBUFS", says: /ENOBUFS/ },
  { call: "getsockopt", act: "failing start", errnos: "ENOBUFS ENOMEM", says: /ENOBUFS|ENOMEM/ },
  { call: "flock", act: "start", errnos: "ENOLCK", says: /Starting without the lock on .*: ENOLCK/, after: 1 },
  { call: "flock", act: "start", errnos: "EWOULDBLOCK EINTR", because: "it is tried again" },
  {
    call: "prctl",
    act: "start",
    errnos: "EINVAL EPERM",
    says: /goes to init instead of to this master: prctl/,
    where: "inMaster",
  },
  { call: "pipe2", act: "failing start", errnos: "EMFILE ENFILE ENOMEM", says: /Cannot start: pipe/ },
  { call: "sigaction", act: "failing start", errnos: "EINVAL", says: /Cannot start: sigaction/ },
  {
    call: "setpriority",
    act: "failing start",
    errnos: "EACCES EPERM",
    says: /priority cannot be set/,
    where: "inMaster",
  },
  { call: "SYS_prlimit64", act: "start", errnos: "EPERM", because: "then workers get the limit that we have" },
  {
    call: "epoll_create1",
    act: "start",
    errnos: "EMFILE ENFILE ENOMEM",
    because: "whoever waits is heard 100 ms later",
  },
  { call: "mmap", act: "start", errnos: "ENOMEM EAGAIN", says: couldNotStart("mmap") },
  { call: "waitpid", act: "start of nothing", errnos: "EINTR", says: couldNotStart("execve") },
  { call: "isatty", act: "start on a terminal", errnos: "ENOTTY EBADF", says: /ran/ },
  { call: "ioctl", act: "start on a terminal", errnos: "ENOTTY EPERM EIO", says: couldNotStart("tcsetpgrp") },
];

/** With `ran` it ends by itself when nothing fails. */
const ran = ["/bin/sh", "-c", "echo ran"];
const terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
const once = ["-m", "0.1", "-n", "1", "--no-respawn", "-b", "127.0.0.1:0,so_reuseaddr,queues=1", "--nice", "1"];

/** Calls of a crash's handler: the next image comes all the same. */
const crashes: readonly Row[] = [
  {
    call: "SYS_pwrite64",
    act: "crash",
    errnos: "ENOSPC EIO ENOMEM",
    says: /crashed and goes on where it was/,
    times: 1000,
  },
  { call: "SYS_clock_gettime", act: "crash", errnos: "EINVAL", says: /crashed and goes on where it was/ },
  {
    call: "open",
    act: "crash",
    errnos: "EMFILE ENFILE",
    says: /crashed and goes on where it was/,
    times: 2,
    where: "inMaster",
  },
  {
    call: "execve",
    act: "crash",
    errnos: "ENOENT ENOMEM EACCES",
    says: /crashed and goes on where it was/,
    where: "inMaster",
  },
  { call: "fcntl", act: "crash", errnos: "EBADF", says: /crashed and goes on where it was/, where: "inMaster" },
  { call: "nanosleep", act: "crash of a thread", errnos: "EINTR", says: /crashed and goes on where it was/ },
  { call: "SYS_tgkill", act: "crash of a thread", errnos: "EAGAIN", says: /crashed and goes on where it was/ },
  {
    call: "signal",
    act: "reload",
    errnos: "EINVAL",
    because: "the kernel refuses a wrong number alone",
    where: "inMaster",
  },
];

const calls = faultyCalls();
const allRows = [...Object.values(rows).flat(), ...starts, ...crashes];

test("each call of the addon that can fail has a row", () => {
  const covered = new Set(allRows.map(({ call }) => call));
  assert.deepEqual(
    calls.filter((call) => !covered.has(call)),
    [],
    "give them a row",
  );
  assert.deepEqual(
    [...covered].filter((call) => !calls.includes(call) && call !== "memory-write"),
    [],
    "the addon has no such call",
  );
});

for (const { call, because, says } of allRows)
  assert.ok(because !== undefined || says !== undefined, `${call}: why is nothing said?`);

function title({ call, errnos, act }: Row): string {
  return `${call} fails in a ${act}: ${errnos}`;
}

function faultsOf(row: Row): Fault[] {
  return row.errnos.split(" ").map((errno) => ({ ...row, errno }));
}

class Bench {
  readonly faults: Faults;
  readonly master: Master;
  readonly httpPath: string;
  readonly #config: string;
  #binds = 0;
  #victim: number | null = null;

  private constructor(faults: Faults, master: Master, httpPath: string, config: string) {
    this.faults = faults;
    this.master = master;
    this.httpPath = httpPath;
    this.#config = config;
  }

  /** `fault`: of the start itself. */
  static async start(t: TestContext, shape: keyof typeof shapes, fault: Fault | null = null): Promise<Bench> {
    const faults = new Faults(t);
    if (fault !== null) faults.order(fault, null);
    const { args, program } = shapes[shape];
    const httpPath = path.join(faults.directory, "http");
    const config = path.join(faults.directory, "config.yaml");
    fs.writeFileSync(config, "");
    const master = await startMaster(t, {
      args: [...args, "--http", `unix:${httpPath}`, "--config", config],
      program,
      env: {
        ...faults.env,
        NOTIFY_SOCKET: "@nobody-listens-here",
        NODE_OPTIONS: `--require ${fixture("fails-to-write.cjs")}`,
      },
    });
    return new Bench(faults, master, httpPath, config);
  }

  /** Makes the master come by the call that fails. What is asked may be disappointed. */
  async act(act: Act): Promise<unknown> {
    const { master } = this;
    switch (act) {
      case "command":
        return master.ask("ehlo");
      case "probe":
        return sendRaw(this.httpPath, "GET /readyz HTTP/1.0\r\n\r\n");
      case "rebind":
        this.#binds += 1;
        fs.writeFileSync(this.#config, `bind: ["127.0.0.1:0,so_reuseaddr,name=b${this.#binds}"]\n`);
        return master.ask("reload");
      case "reload":
      case "upgrade":
        return master.ask(act);
      case "crash":
        return master.kill("SIGSEGV");
      case "crash of a thread":
        return crashThread(master.pid);
      case "death":
        this.#victim = (await master.workers()).find(({ pid }) => pid !== null)?.pid ?? null;
        return process.kill(this.#victim as number, "SIGKILL");
      default:
        return;
    }
  }

  async tryFault(row: Row, fault: Fault): Promise<void> {
    const { master, faults } = this;
    const from = master.log().length;
    const { crashes } = await master.status();
    faults.order(fault, master.pid);
    const acting = this.act(row.act).catch(() => null);
    await faults.wereHit(fault);
    // To kill a worker its number is asked for, which may have been enough.
    if (row.act === "death") await acting;
    if (row.says !== undefined && !silent.has(fault.errno)) await master.waitForLog(row.says, from);
    faults.end();
    // What this image does without it tries again a second later, in the midst of the next fault: the image after it has all.
    if (row.says?.source.includes("would be its end")) await this.act("reload");
    await this.isWell(`after ${fault.errno} from ${fault.call}`);
    const expected = crashes + (row.act.startsWith("crash") ? 1 : 0);
    assert.equal((await master.status()).crashes, expected, `${fault.errno} is no reason to crash`);
  }

  async isWell(when: string): Promise<void> {
    const { master } = this;
    const status = await master.until(
      ({ mode, ready, number, workers }) =>
        // A fault may come before the master knows of the death that led to it.
        workers.every(({ pid }) => pid !== this.#victim) &&
        mode === "running" &&
        ready === number &&
        workers.length === number,
      `all workers ready ${when}`,
    );
    assert.equal(status.pid, master.pid);
    assert.match(await sendRaw(this.httpPath, "GET /readyz HTTP/1.0\r\n\r\n"), /^HTTP\/1.1 200/);
  }
}

/** tgkill(2): kill(2) is for the process, and its main thread takes it. */
async function crashThread(pid: number): Promise<void> {
  const tids = fs.readdirSync(`/proc/${pid}/task`).map(Number);
  // One that has not blocked it.
  const blocks = (tid: number) => (BigInt(`0x${statusField(pid, "SigBlk", tid)}`) >> 10n) % 2n === 1n;
  const other = tids.find((tid) => tid !== pid && !blocks(tid));
  const number = process.arch === "arm64" ? 131 : 234;
  const script = `syscall(${number}, ${pid}, ${other}, 11) == 0 or die $!`;
  await promisify(execFile)("perl", ["-e", script]);
}

describe("in a running master", { concurrency: 4 }, () => {
  for (const [shape, list] of Object.entries(rows)) {
    test(`with ${shape}`, async (t) => {
      const bench = await Bench.start(t, shape as keyof typeof shapes);
      for (const act of ["upgrade", "command"] as const) await bench.act(act);
      await bench.isWell("before anything failed");
      const before = await descriptorsAtRest(bench.master.pid);
      for (const row of list) {
        await t.test(title(row), async () => {
          for (const fault of faultsOf(row)) await bench.tryFault(row, fault);
        });
      }
      // What was done without is back with the next image.
      await bench.act("upgrade");
      await bench.isWell("after all has passed");
      if (shape !== "rebinding") await restsWith(bench.master.pid, before);
      assert.equal((await bench.master.stop()).code, 0);
    });
  }
});

describe("a crash", { concurrency: 2 }, () => {
  for (const row of crashes) {
    test(title(row), async (t) => {
      const bench = await Bench.start(t, "plain");
      for (const fault of faultsOf(row)) await bench.tryFault(row, fault);
      assert.equal((await bench.master.stop()).code, 0);
    });
  }
});

describe("a start", { concurrency: 2 }, () => {
  for (const row of starts) {
    for (const fault of faultsOf(row)) {
      test(`${row.call} fails in a ${row.act} with ${fault.errno}`, async (t) => {
        if (row.act === "start") {
          const { master, faults } = await Bench.start(t, "plain", fault);
          assert.ok(faults.hits() > 0, `${fault.call} is called`);
          if (row.says !== undefined && !silent.has(fault.errno)) await master.waitForLog(row.says);
          assert.equal((await master.stop()).code, 0);
          return;
        }
        const faults = new Faults(t);
        faults.order(fault, null);
        const onTerminal = row.act === "start on a terminal";
        const program = row.act === "start of nothing" ? ["/nonexistent"] : ran;
        const { code, stdout, stderr } = await run(
          "einhorn",
          [...once, "-d", path.join(faults.directory, "sock"), ...program],
          {
            env: faults.env,
            ...(onTerminal ? { through: ["python3", "-c", terminal] } : {}),
          },
        );
        assert.ok(faults.hits() > 0, `${fault.call} is called`);
        assert.match(stdout + stderr, row.says as RegExp);
        if (row.act !== "failing start") return;
        assert.equal(code, 1);
        assert.equal(fs.existsSync(path.join(faults.directory, "sock")), false, "it leaves nothing behind");
      });
    }
  }
});
