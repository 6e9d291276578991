/**
 * HUP, HUP, TERM at random distances, two hundred times: whatever the master is doing at that moment (checking the new image, being
 * replaced by it, replacing workers), it does not die of it; TERM ends in exit 0 and leaves no worker.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fixture, type Master, startMaster } from "../support/master.ts";
import { isAlive } from "../support/processes.ts";

const ROUNDS = 200;
const LONGEST_MS = 250;

/** Every pid that was a worker of this master, by its own log. */
const workersOf = (master: Master): number[] => [
  ...new Set([...master.log().matchAll(/worker slot=\d+ gen=\d+ pid=(\d+) started/g)].map((match) => Number(match[1]))),
];

async function storm(t: TestContext, distances: readonly number[]): Promise<void> {
  const master = await startMaster(t, { args: ["-m", "manual", "-n", "2"], program: [fixture("idle.pl")] });
  const told = `HUP, ${distances[0]} ms, HUP, ${distances[1]} ms, TERM`;
  const [first = 0, second = 0] = distances;
  master.kill("SIGHUP");
  await sleep(first);
  assert.equal(master.hasEnded, false, `died of a HUP: ${told}`);
  master.kill("SIGHUP");
  await sleep(second);
  assert.equal(master.hasEnded, false, `died of the second HUP: ${told}`);
  const ended = await master.stop();
  assert.deepEqual({ code: ended.code, signal: ended.signal }, { code: 0, signal: null }, `${told}\n${ended.stderr}`);
  const left = workersOf(master).filter(isAlive);
  assert.deepEqual(left, [], `workers left: ${told}\n${ended.stderr}`);
}

test(`${ROUNDS} times HUP, HUP, TERM at distances of 0 to ${LONGEST_MS} ms`, { concurrency: 6 }, async (t) => {
  const rounds = Array.from({ length: ROUNDS }, () => [0, 0].map(() => Math.floor(Math.random() * (LONGEST_MS + 1))));
  await Promise.all(
    rounds.map((distances) => t.test(`after ${distances.join(" and ")} ms`, (round) => storm(round, distances))),
  );
});
