/**
 * The loop: event -> step -> effects -> the one alarm. The only mutable state of the master lives here.
 * It knows the world through `Ports` alone, so the simulator runs this very file.
 */
import type { Effect, Event, Pid, State } from "./core/model.ts";
import { step } from "./core/step.ts";
import type { Ports } from "./ports.ts";

export interface Supervisor {
  /** Events of one moment; what they made of the state is kept once for all. */
  deliver(...events: readonly Event[]): void;
  state(): State;
}

export function supervise(initial: State, ports: Ports): Supervisor {
  let state = initial;
  let busy = false;
  let saved: State | null = null;
  const inbox: Event[] = [];
  const report = (event: Event): void => {
    inbox.push(event);
  };

  function deliver(...events: readonly Event[]): void {
    inbox.push(...events);
    if (busy) return; // An effect may deliver events; they wait their turn.
    busy = true;
    try {
      run();
    } finally {
      busy = false;
    }
  }

  function run(): void {
    for (;;) {
      for (let next = inbox.shift(); next !== undefined; next = inbox.shift()) {
        const { state: after, effects, wakeAt } = step(state, next, ports.clock.now());
        state = after;
        // A worker that is missing is missed by clients: it does not wait for what is written about it.
        for (const effect of effects) if (effect.kind === "spawn") perform(effect, ports, report);
        for (const effect of effects) if (effect.kind !== "spawn") perform(effect, ports, report);
        if (wakeAt !== undefined) ports.clock.wakeAt(wakeAt);
      }
      // Only whole turns: an order that was given half must be found in the world, not in the state.
      if (state !== saved) ports.save(state);
      saved = state;
      // The exec waits until everything that is known has been recorded: the inbox dies with this image.
      if (state.handover?.phase !== "executing") return;
      const reason = ports.reexec.exec(state);
      inbox.push({ kind: "exec-failed", reason });
    }
  }

  return { deliver, state: () => state };
}

/** Does one thing to the world. Never throws for what the world may refuse: failure is an event. */
function perform(effect: Effect, ports: Ports, report: (event: Event) => void): void {
  switch (effect.kind) {
    case "spawn":
      return spawn(effect, ports, report);
    case "signal": {
      const signal = ports.processes.signal(effect.pid, effect.signal);
      return report({ kind: "signalled", id: effect.id, signal });
    }
    case "signal-rest":
      return ports.processes.signalRest(effect.signal);
    case "check":
      return ports.reexec.check();
    case "end-check":
      return ports.reexec.endCheck();
    case "measure":
      return report({ kind: "measured", rssBytes: ports.processes.measure(effect.pids) });
    case "reply":
      return ports.control.reply(effect.asker, effect);
    case "announce":
      return ports.announce(effect.state);
    case "log":
      return ports.log(effect);
    case "exit":
      return ports.exit(effect.code);
    default:
      effect satisfies never;
  }
}

function spawn(order: Extract<Effect, { kind: "spawn" }>, ports: Ports, report: (event: Event) => void): void {
  reportSpawn(order.id, () => ports.processes.spawn(order), report);
}

/** Starts a worker and says how that went; null is nothing yet. */
export function reportSpawn(id: number, start: () => Pid | null, report: (event: Event) => void): void {
  try {
    const pid = start();
    if (pid !== null) report({ kind: "spawned", id, pid });
  } catch (error) {
    if (!isSystemError(error)) throw error;
    report({ kind: "unspawned", id, errno: error.code, syscall: error.syscall });
  }
}

function isSystemError(error: unknown): error is { code: string; syscall: string } {
  return error instanceof Error && "code" in error && "syscall" in error;
}
