/** Signals to workers: which one is graceful, and when it is sent. */
import type { Pid, Signal, State } from "../core/model.ts";
import { byPid } from "../core/pool.ts";
import { catchesSignal, kill, signalNumber } from "../system/processes.ts";
import type { Steering } from "../system/queues.ts";

/** Sends it, and returns which it was: "graceful" is USR2 where the worker catches it, else TERM, or what --graceful-signal says. */
export function signalWorker(pid: Pid, signal: Signal | "graceful", state: () => State, steering: Steering): Signal {
  const sent = signal === "graceful" ? gracefulSignal(pid, state().config.gracefulSignal) : signal;
  const { workers, mode } = state();
  const worker = byPid(state(), pid);
  steering.follow(workers);
  if (signal !== "graceful" || worker === undefined || mode.kind === "stopping") kill(pid, sent);
  else {
    steering.whenServed(worker, workers, () => {
      // It may have ended meanwhile, and its pid may be somebody else's.
      if (byPid(state(), pid)?.id === worker.id) kill(pid, sent);
    });
  }
  return sent;
}

function gracefulSignal(pid: Pid, wanted: Signal | "auto"): Signal {
  if (wanted !== "auto") return wanted;
  return catchesSignal(pid, signalNumber("SIGUSR2") as number) ? "SIGUSR2" : "SIGTERM";
}
