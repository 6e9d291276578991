import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Config } from "../src/core/model.ts";
import { UserError } from "../src/errors.ts";
import { table } from "../src/options/table.ts";
import { mergeReconfigured, type Options, readInvocation } from "../src/options.ts";
import { version } from "../src/version.ts";

const files: Record<string, string> = {
  "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n2000:x:77:78::/:/bin/sh\n",
  "/etc/group": "root:x:0:\nstaff:x:50:root,app\naudio:x:29:app\napp:x:1001:\n",
};
const context = { cpus: () => 6, readFile: (path: string) => files[path] ?? null };

function invoke(argv: readonly string[], env: Record<string, string> = {}) {
  return readInvocation({ argv, env, cwd: "/", context });
}

async function options(line: string, env: Record<string, string> = {}): Promise<Options> {
  const invocation = await invoke([...line.split(" ").filter((word) => word !== ""), "prog"], env);
  assert.equal(invocation.kind, "run");
  return invocation.kind === "run" ? invocation.options : assert.fail();
}

async function config(line: string): Promise<Config> {
  return (await options(line)).config;
}

test("the program and its arguments are what follows the options", async () => {
  const cases: [string[], string[]][] = [
    [
      ["sleep", "5"],
      ["sleep", "5"],
    ],
    [
      ["-n", "3", "sleep", "-n", "5"],
      ["sleep", "-n", "5"],
    ],
    [
      ["-n3", "-q", "--", "-odd-", "--help"],
      ["-odd-", "--help"],
    ],
    [
      ["--", "einhorn", "--", "x"],
      ["einhorn", "--", "x"],
    ],
    [
      ["-", "x"],
      ["-", "x"],
    ],
  ];
  for (const [argv, program] of cases) {
    const invocation = await invoke(argv);
    assert.deepEqual(invocation.kind === "run" && invocation.options.program, program, argv.join(" "));
  }
});

test("without a program the usage is printed with exit code 1, with --help all of it with 0", async () => {
  const short = await invoke([]);
  assert.ok(short.kind === "print" && short.exitCode === 1 && short.text.startsWith("## Usage\n"));
  assert.deepEqual(await invoke(["-n", "3"]), short);
  for (const word of ["-h", "--help"]) {
    const long = await invoke(["-n", "nonsense", word, "prog"]);
    assert.ok(long.kind === "print" && long.exitCode === 0 && long.text.startsWith("## Usage\n"));
    for (const option of table) assert.ok(long.text.includes(`--${option.long}`), option.long);
    assert.ok(long.text.split("\n").every((line) => line.length <= 100));
  }
});

test("--version is the version of the package and nothing else", async () => {
  const packageVersion = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version;
  assert.equal(version, packageVersion);
  assert.deepEqual(await invoke(["--version"]), { kind: "print", text: `${packageVersion}\n`, exitCode: 0 });
});

test("--upgrade-check alone prints where it runs, with a state it resumes for a check", async () => {
  const alone = await invoke(["--upgrade-check"]);
  assert.ok(alone.kind === "print" && alone.exitCode === 0 && alone.text.includes(process.version));
  const check = { kind: "resume", stateFd: 7, check: true };
  assert.deepEqual(await invoke(["--upgrade-check", "--with-state-fd", "7", "-n", "0"]), check);
  assert.deepEqual(await invoke(["--with-state-fd", "7", "--upgrade-check"]), check);
  assert.deepEqual(await invoke(["-v", "--upgrade-check", "--with-state-fd=7"]), check);
  assert.deepEqual(await invoke(["--with-state-fd", "7", "-n", "bad"]), { ...check, check: false });
});

test("the defaults are upstream's where it has the option", async () => {
  const { config } = await options("");
  assert.deepEqual(
    { n: config.number, m: config.ackMode, s: config.respawnMs, l: config.backlog, t: config.signalTimeoutMs },
    { n: 1, m: { kind: "timer", ms: 1000 }, s: 1000, l: 100, t: null },
  );
  assert.equal(config.cpus, 6);
});

test("values reach the pool's config in its own units", async () => {
  const cases: [string, Partial<Config>][] = [
    ["-n 10000", { number: 10_000 }],
    ["--number=auto", { number: 6 }],
    ["-s 0.5", { respawnMs: 500 }],
    ["-s .25", { respawnMs: 250 }],
    ["-t 2.5", { signalTimeoutMs: 2500 }],
    ["-l 4096", { backlog: 4096 }],
    ["-m 0", { ackMode: { kind: "timer", ms: 0 } }],
    ["-m manual", { ackMode: { kind: "manual" } }],
    ["-m notify --watchdog 5", { ackMode: { kind: "notify" }, watchdogMs: 5000 }],
    ["--max-unacked 2 --max-upgrade-additional 1", { maxUnacked: 2, maxUpgradeAdditional: 1 }],
    ["--ack-timeout 30", { ackTimeoutMs: 30_000 }],
    ["--graceful-signal auto", { gracefulSignal: "auto" }],
    ["--graceful-signal quit", { gracefulSignal: "SIGQUIT" }],
    ["--graceful-signal SIGRTMIN+3", { gracefulSignal: "SIGRTMIN+3" }],
    ["--graceful-signal 15", { gracefulSignal: "SIGTERM" }],
    ["--drain-delay 0 --grace-period 25", { drainDelayMs: 0, gracePeriodMs: 25_000 }],
    ["--ready-min 2", { readyMin: { kind: "count", count: 2 } }],
    ["--ready-min 80%", { readyMin: { kind: "percent", percent: 80 } }],
    ["--upgrade-timeout 60 --upgrade-max-deaths 5", { upgradeTimeoutMs: 60_000, upgradeMaxDeaths: 5 }],
    ["--give-up-after 4 --no-respawn", { giveUpAfter: 4, respawn: false }],
    ["--max-rss 512M", { maxRssBytes: 512 * 2 ** 20 }],
    ["--max-rss 1.5GiB", { maxRssBytes: 1.5 * 2 ** 30 }],
    ["--max-rss 64Ki", { maxRssBytes: 65_536 }],
    ["--max-rss 1000000", { maxRssBytes: 1_000_000 }],
    ["--max-age 3600", { maxAgeMs: 3_600_000 }],
    ["-v", { verbosity: "debug" }],
    ["-vv", { verbosity: "debug" }],
    ["-q", { verbosity: "error" }],
    ["-q -v", { verbosity: "info" }],
    ["-n 2 -n 3", { number: 3 }],
  ];
  const defaults = await config("");
  for (const [line, expected] of cases) assert.deepEqual(await config(line), { ...defaults, ...expected }, line);
});

test("the rest reaches the options", async () => {
  const cases: [string, Partial<Options>][] = [
    [
      "-c app -d /run/x.sock -e /run/x.pid -f /run/x.lock",
      { commandName: "app", socketPath: "/run/x.sock", pidfile: "/run/x.pid", lockfile: "/run/x.lock" },
    ],
    [
      "-g -k -p ./app.rb --gc-before-fork",
      { commandSocketAsFd: true, killChildrenOnExit: true, preload: "./app.rb", gcBeforeFork: true },
    ],
    ["--drop-env-var A --drop-env-var=B", { dropEnvVars: ["A", "B"] }],
    ["--reexec-as=/opt/einhorn", { reexecAs: ["/opt/einhorn"] }],
    ["--http 0.0.0.0:9090", { http: { host: "0.0.0.0", port: 9090 } }],
    ["--http [::]:0", { http: { host: "::", port: 0 } }],
    ["--http unix:/run/http.sock", { http: { path: "/run/http.sock" } }],
    ["--capture-stderr --log-format json", { captureStderr: true, logFormat: "json" }],
  ];
  const defaults = await options("");
  for (const [line, expected] of cases) assert.deepEqual(await options(line), { ...defaults, ...expected }, line);
});

test("--reexec-as is split as a shell would", async () => {
  const invocation = await invoke(["--reexec-as", `env A='b c' "/opt/my \\"app\\"" x\\ y`, "prog"]);
  assert.deepEqual(invocation.kind === "run" && invocation.options.reexecAs, ["env", "A=b c", '/opt/my "app"', "x y"]);
});

test("the settings of workers", async () => {
  const cases: [string, Partial<Options["worker"]>][] = [
    [
      "--chdir /srv --umask 027 --oom-score-adj -500 --env-file /etc/app.env",
      { chdir: "/srv", umask: 0o027, oomScoreAdj: -500, envFile: "/etc/app.env" },
    ],
    ["--rlimit nofile=1024", { limits: [{ resource: 7, soft: 1024, hard: 1024 }] }],
    [
      "--rlimit NOFILE=1K:4K --rlimit RLIMIT_CORE=0:unlimited",
      {
        limits: [
          { resource: 7, soft: 1024, hard: 4096 },
          { resource: 4, soft: 0, hard: -1 },
        ],
      },
    ],
    ["--worker-user app", { user: { uid: 1000, gid: 1001, groups: [1001, 50, 29] } }],
    ["--worker-user 1000", { user: { uid: 1000, gid: 1001, groups: [1001, 50, 29] } }],
    ["--worker-user app:staff", { user: { uid: 1000, gid: 50, groups: [50, 29] } }],
    ["--worker-user 4242:4343", { user: { uid: 4242, gid: 4343, groups: [4343] } }],
    ["--worker-user 2000", { user: { uid: 77, gid: 78, groups: [78] } }],
    ["--nice -5:10:/usr/bin/renice", { nice: 10 }],
  ];
  const { worker } = await options("");
  for (const [line, expected] of cases)
    assert.deepEqual((await options(line)).worker, { ...worker, ...expected }, line);
  assert.equal((await options("--nice -5")).masterNice, -5);
  assert.equal((await options("--nice :3")).masterNice, null);
});

test("argv goes before EINHORN_OPTS; lists are not mixed", async () => {
  const env = { EINHORN_OPTS: "-n 5 -l 7 -b 127.0.0.1:1 -b 127.0.0.1:2 --drop-env-var 'A B' -q" };
  const both = await options("-n 2 -b 127.0.0.1:3 -v", env);
  assert.deepEqual([both.config.number, both.config.backlog, both.config.verbosity], [2, 7, "debug"]);
  assert.deepEqual(
    both.binds.map(({ text }) => text),
    ["127.0.0.1:3"],
  );
  assert.deepEqual(both.dropEnvVars, ["A B"]);
  assert.deepEqual(
    (await options("", env)).binds.map(({ text }) => text),
    ["127.0.0.1:1", "127.0.0.1:2"],
  );
});

/** Every message an option can bring forth. */
const wrong: [string, string][] = [
  ["--nubmer 3", "unknown option --nubmer; did you mean --number?"],
  ["--num", "unknown option --num; did you mean --number?"],
  ["--flibbertigibbet=3", "unknown option --flibbertigibbet; einhorn --help lists all"],
  ["-x", "unknown option -x; einhorn --help lists all"],
  ["-5", "unknown option -5; einhorn --help lists all"],
  ["-q -5", "unknown option -5; einhorn --help lists all"],
  ["-gx", "unknown option -x; einhorn --help lists all"],
  ["--quiet=1", "-q/--quiet takes no value"],
  ["-n 0", '-n/--number: "0" is not a whole number from 1 to 10000 or "auto"'],
  ["-n 10001", '-n/--number: "10001" is not a whole number from 1 to 10000 or "auto"'],
  ["-n 2.5", '-n/--number: "2.5" is not a whole number from 1 to 10000 or "auto"'],
  ["-n -3", '-n/--number: "-3" is not a whole number from 1 to 10000 or "auto"'],
  ["-s 0", '-s/--seconds: "0" is not a number of seconds above 0, such as 2 or 0.5'],
  ["-s 1e3", '-s/--seconds: "1e3" is not a number of seconds above 0, such as 2 or 0.5'],
  ["-t -1", '-t/--signal-timeout: "-1" is not a number of seconds above 0, such as 2 or 0.5'],
  ["-l 0", '-l/--backlog: "0" is not a whole number, 1 or more'],
  ["-m soon", '-m/--ack-mode: "soon" is not a number of seconds (0 or more), "manual" or "notify"'],
  ["-m -1", '-m/--ack-mode: "-1" is not a number of seconds (0 or more), "manual" or "notify"'],
  ["-c a/b", '-c/--command-name: "a/b" is not a name: 1 to 64 characters without "/"'],
  ["-d=", '-d/--socket-path: "" is not a text of at least one character, without NUL'],
  ["--drop-env-var A=b", '--drop-env-var: "A=b" is not the name of an environment variable'],
  ["--reexec-as 'x", "--reexec-as: has a ' that is never closed"],
  ["--reexec-as=", '--reexec-as: "" is not a command line'],
  ["--nice 20", '--nice: "20" is not a whole number from -20 to 19'],
  ["--nice 0:x", '--nice: "x" is not a whole number from -20 to 19'],
  ["--max-unacked 0", '--max-unacked: "0" is not a whole number, 1 or more'],
  ["--max-upgrade-additional 0", '--max-upgrade-additional: "0" is not a whole number, 1 or more'],
  ["--http 80", '--http: "80" is not IPv4:PORT or [IPv6]:PORT'],
  ["--http localhost:80", '--http: "localhost" is not an IP address'],
  ["--http 127.0.0.1:65536", '--http: "65536" is not a whole number from 0 to 65535 (the port)'],
  ["--http unix:", '--http: "" is not the path of a socket'],
  ["--ready-min 0", '--ready-min: "0" is not a number of workers from 1 to 10000, or a share from 1% to 100%'],
  ["--ready-min 101%", '--ready-min: "101%" is not a number of workers from 1 to 10000, or a share from 1% to 100%'],
  ["--ack-timeout 0", '--ack-timeout: "0" is not a number of seconds above 0, such as 2 or 0.5'],
  [
    "--graceful-signal KILL",
    '--graceful-signal: "KILL" is not "auto" or a signal that a worker can catch, such as USR2, TERM, QUIT or RTMIN+3',
  ],
  [
    "--graceful-signal FOO",
    '--graceful-signal: "FOO" is not "auto" or a signal that a worker can catch, such as USR2, TERM, QUIT or RTMIN+3',
  ],
  ["--drain-delay -1", '--drain-delay: "-1" is not a number of seconds, 0 or more, such as 2 or 0.5'],
  [
    "--drain-delay 5 --grace-period 5",
    "--drain-delay: 5 is not shorter than the --grace-period of 5: workers would be killed before they are asked",
  ],
  ["--grace-period 0", '--grace-period: "0" is not a number of seconds above 0, such as 2 or 0.5'],
  [
    "--upgrade-timeout 999999999",
    '--upgrade-timeout: "999999999" is not a number of seconds above 0, such as 2 or 0.5',
  ],
  ["--upgrade-max-deaths 0", '--upgrade-max-deaths: "0" is not a whole number, 1 or more'],
  ["--give-up-after x", '--give-up-after: "x" is not a whole number, 1 or more'],
  ["--max-rss 0", '--max-rss: "0" is not a size above 0 in bytes, such as 300000000, 512M or 1.5G'],
  ["--max-rss 5X", '--max-rss: "5X" is not a size above 0 in bytes, such as 300000000, 512M or 1.5G'],
  ["--max-age 0", '--max-age: "0" is not a number of seconds above 0, such as 2 or 0.5'],
  ["--watchdog 5", "--watchdog: needs -m notify, which gives workers a NOTIFY_SOCKET to write to"],
  ["--worker-user nobody2", '--worker-user: "nobody2" is no user in /etc/passwd and no number from 0 to 4294967294'],
  ["--worker-user app:nogrp", '--worker-user: "nogrp" is no group in /etc/group and no number from 0 to 4294967294'],
  [
    "--worker-user 4242",
    "--worker-user: user 4242 has no line in /etc/passwd, so its group must be given too, such as 4242:4242",
  ],
  ["--worker-user a:b:c", '--worker-user: "a:b:c" is not USER or USER:GROUP, such as www-data, 1000:1000 or app:staff'],
  ["--umask 9", '--umask: "9" is not an octal number from 0 to 777, such as 022'],
  [
    "--rlimit nofile",
    '--rlimit: "nofile" is not NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024:4096 or core=unlimited',
  ],
  ["--rlimit nofile=x", '--rlimit: "x" is not a limit: "unlimited", or a whole number with an optional K, M or G'],
  ["--rlimit nofile=10:5", "--rlimit: the soft limit 10 is above the hard limit 5"],
  [
    "--rlimit files=5",
    '--rlimit: "files" is no resource; known: cpu, fsize, data, stack, core, rss, nproc, nofile, memlock, as, locks, sigpending, msgqueue, nice, rtprio, rttime',
  ],
  ["--oom-score-adj 1001", '--oom-score-adj: "1001" is not a whole number from -1000 to 1000'],
  ["--log-format xml", '--log-format: "xml" is not "text" or "json"'],
  ["--with-state-fd x", "--with-state-fd: needs the number of a descriptor"],
  [
    "-b 127.0.0.1:80 -b 127.0.0.1:80,n",
    "-b/--bind: 127.0.0.1:80 and 127.0.0.1:80,n are the same address; give it once",
  ],
];

test("a wrong option is one message that names it and what is allowed, exit 2", async () => {
  for (const [line, message] of wrong) {
    const argv = [...line.split(" ").map((word) => (word === "-d=" ? "--socket-path=" : word)), "prog"];
    await assert.rejects(invoke(argv), new UserError("EINHORN_BAD_OPTION", message, 2), line);
  }
});

test("an option without its value says which value", async () => {
  for (const { short, long, value } of table.filter(({ value, long }) => value !== null && long !== "with-state-fd")) {
    const names = short === null ? `--${long}` : `-${short}/--${long}`;
    const expected = new UserError("EINHORN_BAD_OPTION", `${names} needs a value: ${value}`, 2);
    await assert.rejects(invoke([`--${long}`]), expected);
    if (short !== null) await assert.rejects(invoke(["-v", `-${short}`]), expected);
  }
});

test("every option that takes a value is among the wrong ones above, or takes any text", async () => {
  const anyText = ["pidfile", "lockfile", "preload", "config", "chdir", "env-file", "socket-path"];
  for (const { short, long, value } of table) {
    const covered = wrong.some(([line]) => line.startsWith(`--${long}`) || line.startsWith(`-${short} `));
    assert.ok(value === null || covered || anyText.includes(long), long);
  }
});

test("messages about EINHORN_OPTS say so", async () => {
  const cases: [string, string][] = [
    ["-n 0", 'EINHORN_OPTS: -n/--number: "0" is not a whole number from 1 to 10000 or "auto"'],
    ["--nope", "EINHORN_OPTS: unknown option --nope; einhorn --help lists all"],
    ["-n", "EINHORN_OPTS: -n/--number needs a value: N|auto"],
    ["-q sleep", 'EINHORN_OPTS: "sleep" cannot be here; it holds options only'],
    ["--version", 'EINHORN_OPTS: "version" cannot be here; it holds options only'],
    ["-c 'x", "EINHORN_OPTS: has a ' that is never closed"],
  ];
  for (const [text, message] of cases) {
    await assert.rejects(invoke(["prog"], { EINHORN_OPTS: text }), new UserError("EINHORN_BAD_OPTION", message, 2));
  }
});

test("after a reload only what was configured anew replaces what the pool has", async () => {
  const previous = await config("-n 3 -l 100");
  const current = { ...previous, number: 8, verbosity: "debug" as const };
  const next = await config("-n 3 -l 200 --ready-min 50%");
  assert.deepEqual(mergeReconfigured(previous, next, current), {
    ...current,
    backlog: 200,
    readyMin: { kind: "percent", percent: 50 },
  });
  assert.equal(mergeReconfigured(previous, await config("-n 4"), current).number, 4);
  assert.deepEqual(mergeReconfigured(previous, previous, current), current);
});
