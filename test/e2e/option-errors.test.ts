/** Every option's mistakes, end to end: exit 2, one message that names the option and what is allowed, nothing bound or started. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { run } from "../support/master.ts";

interface Mistake {
  args: readonly string[];
  /** What the message must contain besides the first word of `args`. */
  says: RegExp;
  env?: Record<string, string>;
}

const mistakes: readonly Mistake[] = [
  { args: ["-n", "0"], says: /10000|10,000/ },
  { args: ["-n", "10001"], says: /10000|10,000/ },
  { args: ["-n", "many"], says: /many.*auto|auto.*many/s },
  { args: ["--number"], says: /needs a value/ },
  { args: ["-s", "0"], says: /0/ },
  { args: ["-s", "soon"], says: /soon/ },
  { args: ["-m", "later"], says: /later.*(manual|notify)/s },
  { args: ["-m", "-1"], says: /-1/ },
  { args: ["-l", "0"], says: /0/ },
  { args: ["-t", "never"], says: /never/ },
  { args: ["-b", "127.0.0.1:65536"], says: /65536.*65535/s },
  { args: ["-b", "127.0.0.1"], says: /127\.0\.0\.1.*PORT/s },
  { args: ["-b", "::1:80"], says: /\[::1\]/ },
  { args: ["-b", "127.0.0.1:80,rn"], says: /rn.*so_reuseaddr/s },
  { args: ["-b", "127.0.0.1:80,backlog"], says: /backlog/ },
  { args: ["-b", "127.0.0.1:80,mode=0660"], says: /mode.*unix/s },
  { args: ["-b", `unix:/${"x".repeat(120)}`], says: /107/ },
  { args: ["-b", "fd:1"], says: /stdin, stdout or stderr/ },
  { args: ["--max-unacked", "0"], says: /0/ },
  { args: ["--max-upgrade-additional", "none"], says: /none/ },
  { args: ["--nice", "40"], says: /40/ },
  { args: ["--drop-env-var", "A=B"], says: /A=B/ },
  { args: ["--reexec-as", ""], says: /reexec-as/ },
  { args: ["--ack-timeout", "0"], says: /0/ },
  { args: ["--graceful-signal", "NOSUCH"], says: /NOSUCH/ },
  { args: ["--graceful-signal", "KILL"], says: /KILL/ },
  { args: ["--drain-delay", "-1"], says: /-1/ },
  { args: ["--grace-period", "x"], says: /x/ },
  { args: ["--http", "8080"], says: /8080/ },
  { args: ["--http", "localhost:8080"], says: /localhost/ },
  { args: ["--ready-min", "101%"], says: /101%/ },
  { args: ["--upgrade-timeout", "0"], says: /0/ },
  { args: ["--upgrade-max-deaths", "0"], says: /0/ },
  { args: ["--give-up-after", "0"], says: /0/ },
  { args: ["--worker-user", "no-such-user"], says: /no-such-user/ },
  { args: ["--worker-user", "1:2:3"], says: /USER:GROUP/ },
  { args: ["--umask", "999"], says: /999/ },
  { args: ["--rlimit", "nofiles=3"], says: /nofiles.*nofile/s },
  { args: ["--rlimit", "nofile=9:3"], says: /9.*3/ },
  { args: ["--oom-score-adj", "1001"], says: /1000/ },
  { args: ["--max-rss", "lots"], says: /lots/ },
  { args: ["--max-age", "0"], says: /0/ },
  { args: ["--log-format", "xml"], says: /xml.*json/s },
  { args: ["--config", "/nonexistent.yml"], says: /\/nonexistent\.yml.*ENOENT/ },
  { args: ["--nubmer", "3"], says: /did you mean --number/ },
  { args: ["-Z"], says: /-Z/ },
  { args: ["--quiet=yes"], says: /takes no value/ },
  { args: [], env: { EINHORN_OPTS: "-n 0" }, says: /EINHORN_OPTS.*(-n|number)/s },
  { args: [], env: { EINHORN_OPTS: "-b 'open" }, says: /EINHORN_OPTS/ },
];

test("a wrong option or value ends with 2 and one message; nothing is bound or started", {
  concurrency: 3,
}, async (t) => {
  const directory = fs.mkdtempSync("/tmp/einhorn-options-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  await Promise.all(
    mistakes.map((mistake, index) => t.test(describe(mistake), () => check(mistake, directory, index))),
  );
});

const describe = ({ args, env }: Mistake): string =>
  (env ? `EINHORN_OPTS=${env.EINHORN_OPTS}` : args.join(" ")).slice(0, 60);

async function check({ args, says, env }: Mistake, directory: string, index: number): Promise<void> {
  const marker = path.join(directory, `started-${index}`);
  const sock = path.join(directory, `${index}.sock`);
  // A missing value must stay the last word.
  const rest = args.at(-1) === "--number" ? [] : ["--", "touch", marker];
  const failed = await run("einhorn", ["-d", sock, ...args, ...rest], { env: { ...env } });
  assert.equal(failed.code, 2, `exit code; stderr: ${failed.stderr}`);
  assert.equal(failed.stdout, "");
  assert.match(failed.stderr, says);
  const option = args[0]?.replace(/=.*/, "");
  if (option !== undefined) assert.ok(failed.stderr.includes(option), `names ${option}: ${failed.stderr}`);
  assert.equal(failed.stderr.trimEnd().split("\n").length, 1, `one line: ${failed.stderr}`);
  assert.equal(fs.existsSync(marker), false, "no worker was started");
  assert.equal(fs.existsSync(sock), false, "no command socket was made");
}

test("a mistake in the config file names the line and the column", async (t) => {
  const directory = fs.mkdtempSync("/tmp/einhorn-config-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const file = path.join(directory, "einhorn.yml");
  fs.writeFileSync(file, "number: 2\n  seconds: 1\n");
  const broken = await run("einhorn", ["--config", file, "--", "true"]);
  assert.equal(broken.code, 2);
  assert.match(broken.stderr, /einhorn\.yml:\d+:\d+/);
  fs.writeFileSync(file, "number: 2\nack-mode: later\n");
  const wrong = await run("einhorn", ["--config", file, "--", "true"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /einhorn\.yml:2:11.*later/);
});

test("a --nice that this user may not have leaves nothing behind", async (t) => {
  const directory = fs.mkdtempSync("/tmp/einhorn-nice-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  fs.chmodSync(directory, 0o777);
  const at = (name: string) => path.join(directory, name);
  const args = ["-d", at("sock"), "-e", at("pid"), "-f", at("lock"), "-b", `unix:${at("bound")}`, "--nice", "-5"];
  const nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
  const failed = await run("einhorn", [...args, "--", "touch", at("started")], { through: nobody });
  assert.notEqual(failed.code, 0);
  assert.match(failed.stderr, /--nice: .*-5: EACCES/);
  assert.deepEqual(fs.readdirSync(directory), []);
});

test("no program: the usage on stdout, exit 1; --help and --version exit 0", async () => {
  const usage = await run("einhorn", []);
  assert.equal(usage.code, 1);
  assert.match(usage.stdout, /^## Usage/);
  const help = await run("einhorn", ["--help"]);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /--max-unacked/);
  const version = await run("einhorn", ["--version"]);
  assert.equal(version.code, 0);
  assert.match(version.stdout, /\d+\.\d+\.\d+/);
});
