/** `queues=per-worker`: connections are in queues of single workers, and none is lost with a worker. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fixture, startMaster } from "../support/master.ts";
import { underLoad } from "../support/under-load.ts";

const args = ["-b", "127.0.0.1:0,queues=per-worker", "-m", "manual", "-n", "4"];

test("upgrades and changes of the number of workers fail no request", async (t) => {
  const master = await startMaster(t, { args, program: [fixture("http-server.pl")] });
  const load = underLoad(t, { port: await master.port() });
  for (const [command, ...words] of [
    ["set_workers", "7"],
    ["upgrade"],
    ["set_workers", "2"],
    ["upgrade_fleet"],
    ["reload"],
    ["set_workers", "5"],
    ["upgrade"],
  ]) {
    const reply = await master.ask(command as string, ...words);
    assert.equal(reply.error ?? false, false, reply.message);
    await master.until((status) => status.ready === status.number, `ready after ${command}`);
    await load.served(50);
  }
  const report = await load.stop();
  assert.deepEqual(report.errors, []);
  assert.equal(report.failed, 0);
  assert.equal((await master.stop()).code, 0);
});

test("what waits for a worker that is killed is answered by its successor", async (t) => {
  const master = await startMaster(t, { args: [...args.slice(0, -1), "1"], program: [fixture("http-server.pl")] });
  const [worker] = await master.workers();
  process.kill(worker?.pid as number, "SIGSTOP");
  const load = underLoad(t, { port: await master.port() });
  process.kill(worker?.pid as number, "SIGKILL");
  await load.served(20);
  const report = await load.stop();
  assert.deepEqual(report.errors, []);
  assert.equal(report.failed, 0);
  await master.stop();
});
