import assert from "node:assert/strict";
import os from "node:os";
import { test } from "node:test";
import { type HostConfig, startEinhorn } from "./harness.ts";

const all = os.availableParallelism();

const cases: [string, Partial<HostConfig>, number][] = [
  ["--cpus 0.5", { NanoCpus: 0.5e9 }, 1],
  ["--cpus 1.5", { NanoCpus: 1.5e9 }, Math.min(2, all)],
  ["--cpus 2", { NanoCpus: Math.min(2, all) * 1e9 }, Math.min(2, all)],
  ["--cpuset-cpus 0", { CpusetCpus: "0" }, 1],
  ["no limit", {}, all],
];

for (const [limit, host, workers] of cases) {
  test(`-n auto under ${limit} is ${workers}`, async () => {
    await using app = await startEinhorn({ options: ["-n", "auto", "-m", "0"], program: ["sleep", "1000"], host });
    const state = await app.einhornsh("state");
    assert.match(state.output, new RegExp(`:number: ${workers}\\b`));
    const names = (await app.exec(["sh", "-c", "cat /proc/[0-9]*/comm"])).output;
    assert.equal(names.match(/^sleep$/gm)?.length, workers, names);
  });
}
