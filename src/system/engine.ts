/**
 * What V8 is told once it runs. Not on the command line: ENTRYPOINT ["einhorn"] has no place for it, and V8 takes no code cache that was made
 * under other flags than it is loaded under.
 */
import { native } from "./native.ts";

/** As V8 12 and later measure it. */
const laterByCounts = [
  "--invocation-count-for-maglev=6000",
  "--invocation-count-for-turbofan=45000",
  "--invocation-count-for-early-optimization=450",
];

/**
 * How much a function runs before it is optimized, 15 times V8's own measure: a master handles bursts and rests. V8's threads would be done
 * when the burst is over, and take the CPUs from workers that start until then. By Node's major version, as V8 complains on stderr of
 * a flag that it does not know.
 */
const optimizeLater: Readonly<Record<number, readonly string[]>> = {
  20: ["--interrupt-budget=1000000"],
  22: laterByCounts,
  24: laterByCounts,
  26: laterByCounts,
};

/** Young garbage is collected when there is no room for more, and not when there is almost none: a new image has clients that wait. */
const collectLater = "--no-minor-gc-task";

/** Before anything much has run. */
export function tuneEngine(): void {
  const flags = optimizeLater[Number.parseInt(process.versions.node, 10)];
  if (flags === undefined) return;
  for (const flag of [collectLater, ...flags]) native.setEngineFlag({ flag });
}
