/** `--capture-stderr`: the pipes of the workers between the kernel and the master's stderr. */
import type { Options } from "../options.ts";
import { Capture } from "../system/capture.ts";
import type { CaptureState } from "../system/capture-state.ts";
import type { Log } from "../system/log.ts";
import { native } from "../system/native.ts";
import type { Outlet } from "../system/outlet.ts";
import * as reactor from "../system/reactor.ts";

export interface CapturingSettings {
  /** Pipes of the image before: they are relayed whatever the option says by now. */
  from: CaptureState | null;
  outlet: Outlet;
  log: Log;
  keep(): void;
}

export function createCapture({ from, outlet, log, keep }: CapturingSettings): Capture {
  return new Capture({ from, outlet, native, reactor, keep, trouble: (message) => log.error(message) });
}

/** What gives each worker its pipe; null without the option. */
export function pipeMaker({ captureStderr, worker }: Options, capture: Capture) {
  return captureStderr ? () => capture.open(worker.user) : null;
}
