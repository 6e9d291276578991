/**
 * Runs the simulator: `npm run simulate -- SEED` replays one seed with its trace; `--seeds N` runs N seeds from `--from`.
 */

import { fileURLToPath } from "node:url";
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

/** The failure of one seed, or null. */
export function trySeed(code: Code, seed: number): { error: Error; world: World } | null {
  const world = new World(code, seed);
  try {
    world.run(stepsPerSeed);
    return null;
  } catch (error) {
    return { error: error as Error, world };
  }
}

function replay(seed: number): void {
  const failure = trySeed(realCode, seed);
  const world = failure?.world;
  if (world === undefined) {
    const again = new World(realCode, seed);
    again.run(stepsPerSeed);
    console.log(again.trace.join("\n"));
    return console.log(`seed ${seed} passed`);
  }
  console.log(world.trace.join("\n"));
  console.log(`seed ${seed} failed: ${failure?.error.stack}`);
  process.exitCode = 1;
}

function many(from: number, count: number): void {
  const startedAt = performance.now();
  for (let seed = from; seed < from + count; seed += 1) {
    const failure = trySeed(realCode, seed);
    if (failure === null) continue;
    console.log(`seed ${seed} failed: ${failure.error.message}\nreplay: npm run simulate -- ${seed}`);
    process.exitCode = 1;
    return;
  }
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(`${count} seeds passed in ${seconds.toFixed(1)} s, ${Math.round(count / seconds)} a second`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [first = "--seeds", second = "10000", , fourth = "1"] = process.argv.slice(2);
  if (first === "--seeds") many(Number(fourth), Number(second));
  else replay(Number(first));
}
