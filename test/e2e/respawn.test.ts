/** What happens when a worker dies, or cannot be started; --no-respawn, --give-up-after. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fixture, logLines, run, startMaster } from "../support/master.ts";

function temporary(t: TestContext): string {
  const directory = fs.mkdtempSync("/tmp/einhorn-respawn-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  return directory;
}

/** The pauses that the log announces before the next start of a worker, in ms; null is "at once". */
function pauses(log: string): (number | null)[] {
  return [...log.matchAll(/before its ACK; next start (?:at once|in ([\d.]+)(ms|s))/g)].map(([, amount, unit]) =>
    amount === undefined ? null : Number(amount) * (unit === "ms" ? 1 : 1000),
  );
}

test("a worker that dies before its ACK waits longer each time", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "-s", "0.4"],
    program: [fixture("dies-early.pl")],
    until: "running",
  });
  await master.waitForLog(/(exited with code 7[\s\S]*){4}/);
  const seen = pauses(master.log());
  for (const [i, pause] of seen.entries()) {
    // On a busy machine it may have lived longer than -s: then at once.
    if (pause === null) continue;
    const longest = 400 * 1.5 ** (i + 1);
    // It counts from the last start, so the worker's life is over already; jitter takes a tenth at most.
    assert.ok(pause <= longest + 1 && pause > longest * 0.9 - 400, `death ${i + 1}: ${pause} ms, at most ${longest}`);
  }
  assert.ok(seen.some((pause) => pause !== null && pause > 400));
  assert.equal((await master.stop()).code, 0);
});

test("one bad slot does not slow the others, and a good one is replaced at once", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "-n", "3", "-s", "0.05", "--log-format", "json"],
    program: [fixture("bad-slot-zero.pl")],
    until: "running",
  });
  await master.until((status) => status.ready === 2);
  await master.waitForLog(/(exited with code 5[\s\S]*){4}/);
  const victim = (await master.workers()).find(({ slot, phase }) => slot === 1 && phase === "ready")?.pid as number;
  process.kill(victim, "SIGKILL");
  await master.until(({ workers }) => workers.some((w) => w.slot === 1 && w.phase === "ready" && w.pid !== victim));
  const death = logLines(master.log()).find((line) => line.pid === victim && line.signal === "SIGKILL");
  assert.match(String(death?.message ?? death?.msg), /after its ACK; next start at once/);
});

test("a program that cannot be executed is named with the reason, and tried again", async (t) => {
  const master = await startMaster(t, { args: ["-s", "0.05"], program: ["/nonexistent/program"], until: "running" });
  await master.waitForLog(/(could not be started.*ENOENT[\s\S]*){2}/);
  assert.equal((await master.stop()).code, 0);
});

test("--give-up-after: so many deaths before ACK in a row end the master with that status", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "-s", "0.05", "--give-up-after", "3"],
    program: [fixture("dies-early.pl")],
    until: "nothing",
  });
  const ended = await master.ended();
  assert.equal(ended.code, 7);
  assert.equal(ended.stderr.match(/exited with code 7 .*next start/g)?.length, 3);
});

for (const [what, code, program] of [
  ["0 when every worker ends with 0", 0, ["true"]],
  ["the status of the one that failed", 3, ["sh", "-c", "exit 3"]],
  ["128 and the number of the signal that ended it", 143, ["sh", "-c", "kill -TERM $$"]],
  ["127 for a program that is not there", 127, ["/nonexistent/program"]],
  ["126 for a file that may not be executed", 126, [fixture("Worker.pm")]],
] as const) {
  test(`--no-respawn exits with ${what}`, async (t) => {
    const sock = path.join(temporary(t), "s.sock");
    const ended = await run("einhorn", ["-d", sock, "-n", "2", "--no-respawn", "--", ...program]);
    assert.equal(ended.code, code, ended.stderr);
  });
}

test("a worker that ACKs and dies later is replaced; its end stays in status", async (t) => {
  const gate = path.join(temporary(t), "gate");
  const master = await startMaster(t, {
    args: ["-m", "manual", "-s", "0.05"],
    program: [fixture("acks-then-dies.pl")],
    env: { GATE: gate },
  });
  fs.writeFileSync(gate, "");
  await master.waitForLog(/exited with code 3 .*after its ACK/);
  fs.rmSync(gate);
  const { recentDeaths } = await master.until((status) => status.ready === 1);
  assert.ok(recentDeaths.some((death) => death.wasReady && /code 3/.test(death.text)));
});

test("an einhorn that is a worker of another einhorn works like any worker", async (t) => {
  const directory = temporary(t);
  const inner = [
    "node",
    path.join(import.meta.dirname, "../../dist/einhorn.cjs"),
    "-d",
    path.join(directory, "inner.sock"),
  ];
  const master = await startMaster(t, {
    args: ["-b", "127.0.0.1:0", "-m", "notify"],
    program: [...inner, "-b", "fd:3", "-m", "manual", "-n", "2", "--", fixture("http-server.pl")],
  });
  const { get } = await import("../support/master.ts");
  const port = await master.port();
  assert.match(await get(port), /slot=[01]/);
  assert.equal((await master.status()).ready, 1, "the inner einhorn said READY=1 when its workers were ready");
  const innerShell = await run("einhornsh", ["-d", path.join(directory, "inner.sock"), "status"]);
  assert.match(innerShell.stdout, /2 of 2 workers ready/);
  assert.equal((await master.stop()).code, 0);
});
