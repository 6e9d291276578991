/** `-p`: the zygotes between the kernel and the supervisor. */
import type { Options } from "../options.ts";
import { reportSpawn } from "../supervisor.ts";
import { now } from "../system/clock.ts";
import { Preload, type PreloadHost, type PreloadState } from "../system/preload.ts";
import { kill } from "../system/processes.ts";
import type { ZygoteOrder } from "../system/zygote-orders.ts";

export type PreloadingHost = Omit<PreloadHost, "now" | "kill" | "execute"> & {
  /** Throws {code, syscall}. */
  execute(order: ZygoteOrder): number;
};

/** Null without the option. */
export function createPreload({ preload }: Options, from: PreloadState | null, host: PreloadingHost): Preload | null {
  if (preload === null) return null;
  const execute = (order: ZygoteOrder) => reportSpawn(order.id, () => host.execute(order), host.deliver);
  return new Preload(preload, { ...host, now, execute, kill: (pid) => kill(pid, "SIGKILL") }, from);
}
