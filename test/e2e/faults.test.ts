/**
 * Every system call that the addon makes for the running master fails, with every errno that its manual page lets expect, one
 * after the other, while a client asks, a worker dies and an upgrade is wanted. The master stays up, says what failed, and all is well when
 * it has passed.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fixture, get, type Master, startMaster } from "../support/master.ts";

const faults: readonly { call: string; codes: readonly string[]; says?: RegExp; args?: readonly string[] }[] = [
  { call: "spawn", codes: ["EAGAIN", "ENOMEM", "EPERM", "EMFILE"], says: /could not be started: spawn failed with/ },
  { call: "accept", codes: ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED", "EPERM"], says: /cannot accept/ },
  { call: "memoryFile", codes: ["ENOMEM", "EMFILE", "ENFILE"], says: /Upgrade failed: .*on purpose/ },
  { call: "memory-write", codes: ["ENOSPC", "ENOMEM"], says: /on purpose/ },
  {
    call: "exec",
    codes: ["ENOMEM", "EAGAIN", "E2BIG", "ENOENT", "EACCES"],
    says: /could not replace the master's image/,
  },
  { call: "read", codes: ["ECONNRESET", "ENOMEM", "EIO"] },
  { call: "write", codes: ["EPIPE", "ECONNRESET", "ENOBUFS"] },
  { call: "getSocketOption", codes: ["ENOBUFS", "ENOMEM"] },
  { call: "watch", codes: ["ENOMEM", "ENOSPC"] },
  { call: "poll", codes: ["ENOMEM"] },
  { call: "setInheritable", codes: ["EBADF"] },
  { call: "holdSignals", codes: ["EINVAL"] },
  { call: "pipe", codes: ["EMFILE", "ENFILE"], says: /stderr is not captured.*on purpose/, args: ["--capture-stderr"] },
  { call: "relay", codes: ["ENOMEM", "EIO"], says: /cannot be relayed.*on purpose/, args: ["--capture-stderr"] },
  { call: "surviveCrashes", codes: ["ENOMEM"], says: /on purpose/ },
];

/** Below those that the kernel gives out. */
let nextPort = 18_400 + (process.pid % 1000) * 10;

class Faults {
  readonly #file: string;
  #nextId = 1;

  constructor(t: TestContext) {
    const directory = fs.mkdtempSync("/tmp/einhorn-faults-");
    t.after(() => fs.rmSync(directory, { recursive: true }));
    this.#file = path.join(directory, "faults");
  }

  get env(): Record<string, string> {
    return { FAULTS_FILE: this.#file, NODE_OPTIONS: `--require ${fixture("fails-on-command.cjs")}` };
  }

  /** While `act` runs, the call's next `times` fail; returns how many did. */
  async during(call: string, code: string, times: number, act: () => Promise<void>): Promise<number> {
    const id = this.#nextId++;
    fs.writeFileSync(`${this.#file}.new`, JSON.stringify({ id, call, code, times }));
    fs.renameSync(`${this.#file}.new`, this.#file);
    await act();
    fs.rmSync(this.#file);
    const hits = fs.existsSync(`${this.#file}.hits`) ? fs.readFileSync(`${this.#file}.hits`, "utf8") : "";
    return hits.split("\n").filter((line) => line === String(id)).length;
  }
}

/** What a master has to do all day; whoever asks may be disappointed while a call fails. */
async function use(master: Master, httpPort: number): Promise<void> {
  const patience = (promise: Promise<unknown>, ms = 400) =>
    Promise.race([promise.catch(() => null), sleep(ms, null, { ref: false })]);
  await patience(master.ask("ehlo"));
  const victim = Number(
    fs.readFileSync(`/proc/${master.pid}/task/${master.pid}/children`, "utf8").trim().split(" ")[0],
  );
  if (victim > 0) process.kill(victim, "SIGKILL");
  await sleep(50);
  await patience(master.ask("status"));
  await patience(get(httpPort, "/readyz"));
  // The next image must have come up while calls still fail.
  await patience(master.ask("upgrade"), 5_000);
}

for (const { call, codes, says, args = [] } of faults) {
  test(`${call} fails with ${codes.join(", ")}: the master stays up and recovers`, async (t) => {
    const faultsOn = new Faults(t);
    const master = await startMaster(t, {
      args: [
        "-b",
        "127.0.0.1:0",
        "-m",
        "manual",
        "-n",
        "2",
        "-s",
        "0.1",
        "--ack-timeout",
        "3",
        ...args,
        ...["--http", `127.0.0.1:${nextPort}`],
      ],
      program: [fixture("http-server.pl")],
      env: faultsOn.env,
    });
    const httpPort = nextPort++;
    for (const code of codes) {
      const from = master.log().length;
      const hits = await faultsOn.during(call, code, 3, () => use(master, httpPort));
      assert.ok(hits > 0, `${call} was never called, so ${code} was never tried`);
      if (says !== undefined && code !== "ECONNABORTED") await master.waitForLog(says, from);
      const status = await master.until(
        ({ mode, ready, workers }) => mode === "running" && ready === 2 && workers.length === 2,
        `two ready workers after ${code}`,
      );
      assert.equal(status.pid, master.pid);
      assert.equal(status.crashes, 0, `${code} is no reason to crash`);
    }
    assert.equal((await master.stop()).code, 0);
  });
}
