/**
 * Runs the simulator: `npm run simulate -- SEED` replays one seed with its trace; `--seeds N` runs N seeds from `--from`.
 */

import { once } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { changesBetween, documentOf } from "../../src/core/changes.ts";
import { readCommand } from "../../src/core/commands.ts";
import { decodeState, encodeState } from "../../src/core/handover.ts";
import { initialState } from "../../src/core/initial.ts";
import { supervise } from "../../src/supervisor.ts";
import { type Code, World } from "./world.ts";

export const realCode: Code = {
  supervise,
  initialState,
  encodeState,
  decodeState,
  changesBetween,
  documentOf,
  readCommand,
};
/** Random events per seed, before the calm. */
export const stepsPerSeed = 120;

/** The failure of one seed, or null; with what happened in it, where that is asked for. */
export function trySeed(code: Code, seed: number, traced = false): { error: Error | null; trace: readonly string[] } {
  // What fails before the world is whole has no trace.
  let world: World | null = null;
  try {
    world = new World(code, seed, traced);
    world.run(stepsPerSeed);
    return { error: null, trace: world.trace };
  } catch (error) {
    return { error: error as Error, trace: world?.trace ?? [] };
  }
}

function replay(seed: number): void {
  const { error, trace } = trySeed(realCode, seed, true);
  console.log(trace.join("\n"));
  console.log(error === null ? `seed ${seed} passed` : `seed ${seed} failed: ${error.stack}`);
  if (error !== null) process.exitCode = 1;
}

/** The first failing seed of a range, or null. */
export function firstFailure(code: Code, from: number, count: number): { seed: number; message: string } | null {
  for (let seed = from; seed < from + count; seed += 1) {
    const { error } = trySeed(code, seed);
    if (error !== null) return { seed, message: error.message };
  }
  return null;
}

/** On all cores; each takes the next hundred seeds when it is done with the last. */
async function many(from: number, count: number): Promise<void> {
  const startedAt = performance.now();
  let next = from;
  let failure: ReturnType<typeof firstFailure> = null;
  const runOne = async (): Promise<void> => {
    const worker = new Worker(fileURLToPath(import.meta.url));
    while (failure === null && next < from + count) {
      const share = Math.min(100, from + count - next);
      worker.postMessage({ from: next, count: share });
      next += share;
      const [answer] = (await once(worker, "message")) as [ReturnType<typeof firstFailure>];
      failure ??= answer;
    }
    await worker.terminate();
  };
  const cores = availableParallelism();
  await Promise.all(Array.from({ length: cores }, runOne));
  const found = failure as ReturnType<typeof firstFailure>;
  if (found !== null) {
    console.log(`seed ${found.seed} failed: ${found.message}\nreplay: npm run simulate -- ${found.seed}`);
    process.exitCode = 1;
    return;
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const rate = Math.round(count / seconds);
  console.log(`${count} seeds passed in ${seconds.toFixed(1)} s on ${cores} cores, ${rate} a second`);
}

if (!isMainThread) {
  parentPort?.on("message", ({ from, count }: { from: number; count: number }) => {
    parentPort?.postMessage(firstFailure(realCode, from, count));
  });
} else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [first = "--seeds", second = "10000", , fourth = "1"] = process.argv.slice(2);
  if (first === "--seeds") await many(Number(fourth), Number(second));
  else replay(Number(first));
}
