/**
 * Runs the simulator. `npm run simulate -- SEED [--kill-at N]` replays one seed with its trace, and with kill -9 at the Nth
 * place where the master can end; `--seeds N [--from SEED] [--kill-at all]` runs N seeds on all cores, or each again for every place.
 */

import { once } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { readCommand } from "../../src/core/commands.ts";
import { decodeState, encodeState } from "../../src/core/handover.ts";
import { initialState } from "../../src/core/initial.ts";
import { documentFrom, Keeper, pendingIn } from "../../src/keeping.ts";
import { supervise } from "../../src/supervisor.ts";
import { Journal, readJournal } from "../../src/system/journal.ts";
import { Tally } from "./tally.ts";
import { type Code, World, type WorldSettings } from "./world.ts";

export const realCode: Code = {
  supervise,
  initialState,
  encodeState,
  decodeState,
  readCommand,
  Keeper,
  documentFrom,
  pendingIn,
  Journal,
  readJournal,
};
/** Random events per seed, before the calm. */
export const stepsPerSeed = 90;
/** Each is run once for every place where the master can end: fewer events keep that to hundreds of runs. */
const stepsWithKill = 40;

interface Outcome {
  error: Error | null;
  trace: readonly string[];
  /** How many places there were at which the master could end. */
  places: number;
}

/** One seed: its failure, or null; with what happened in it, where that is asked for. */
export function trySeed(code: Code, seed: number, settings: WorldSettings = {}, tally?: Tally): Outcome {
  // What fails before the world is whole has no trace.
  let world: World | null = null;
  let error: Error | null = null;
  try {
    world = new World(code, seed, settings);
    world.run(settings.killAt === undefined ? stepsPerSeed : stepsWithKill);
  } catch (thrown) {
    error = thrown as Error;
  }
  if (world !== null) tally?.add(world.tally.counts);
  return { error, trace: world?.trace ?? [], places: world?.places ?? 0 };
}

/** A seed that failed, and how to see it again. */
export interface Failure {
  replay: string;
  message: string;
}

/** The first failing seed of a range, or null. */
export function firstFailure(code: Code, from: number, count: number, tally?: Tally): Failure | null {
  for (let seed = from; seed < from + count; seed += 1) {
    const { error } = trySeed(code, seed, {}, tally);
    if (error !== null) return { replay: `npm run simulate -- ${seed}`, message: error.message };
  }
  return null;
}

/** The same with kill -9, once for each place where the master can end; the run without it says how many there are. */
export function firstFailureKilled(code: Code, from: number, count: number, tally?: Tally): Failure | null {
  for (let seed = from; seed < from + count; seed += 1) {
    const { places } = trySeed(code, seed, { killAt: 0 });
    for (let killAt = 0; killAt <= places; killAt += 1) {
      const { error } = trySeed(code, seed, { killAt }, tally);
      if (error !== null) return { replay: `npm run simulate -- ${seed} --kill-at ${killAt}`, message: error.message };
    }
  }
  return null;
}

function replay(seed: number, settings: WorldSettings): void {
  const { error, trace } = trySeed(realCode, seed, { ...settings, traced: true });
  console.log(trace.join("\n"));
  console.log(error === null ? `seed ${seed} passed` : `seed ${seed} failed: ${error.stack}`);
  if (error !== null) process.exitCode = 1;
}

interface Share {
  from: number;
  count: number;
  killed: boolean;
}

interface Answer {
  failure: Failure | null;
  counts: readonly (readonly [string, number])[];
}

function runShare({ from, count, killed }: Share): Answer {
  const tally = new Tally();
  const failure = (killed ? firstFailureKilled : firstFailure)(realCode, from, count, tally);
  return { failure, counts: [...tally.counts] };
}

/** On all cores; each takes the next share when it is done with the last. */
async function many(from: number, count: number, killed: boolean): Promise<void> {
  const startedAt = performance.now();
  const tally = new Tally();
  const failures: Failure[] = [];
  const sharesOf = killed ? 1 : 100;
  let next = from;
  const runOne = async (): Promise<void> => {
    const worker = new Worker(fileURLToPath(import.meta.url));
    while (failures.length === 0 && next < from + count) {
      const share: Share = { from: next, count: Math.min(sharesOf, from + count - next), killed };
      next += share.count;
      worker.postMessage(share);
      const [{ failure, counts }] = (await once(worker, "message")) as [Answer];
      tally.add(counts);
      if (failure !== null) failures.push(failure);
    }
    await worker.terminate();
  };
  const cores = availableParallelism();
  await Promise.all(Array.from({ length: cores }, runOne));
  console.log(tally.toString());
  for (const { replay, message } of failures) console.log(`${message}\nreplay: ${replay}`);
  if (failures.length > 0) {
    process.exitCode = 1;
    return;
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const runs = killed ? `, ${tally.counts.get("event booted")} runs` : "";
  const rate = Math.round(count / seconds);
  console.log(`${count} seeds${runs} passed in ${seconds.toFixed(1)} s on ${cores} cores, ${rate} seeds a second`);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seeds: { type: "string" }, from: { type: "string", default: "1" }, "kill-at": { type: "string" } },
  });
  const killAt = values["kill-at"];
  const [seed] = positionals;
  if (seed !== undefined) replay(Number(seed), killAt === undefined ? {} : { killAt: Number(killAt) });
  else await many(Number(values.from), Number(values.seeds ?? 10_000), killAt === "all");
}

if (!isMainThread) {
  parentPort?.on("message", (share: Share) => parentPort?.postMessage(runShare(share)));
} else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main();
}
