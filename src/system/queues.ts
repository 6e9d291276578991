/**
 * `queues=`: one accept queue per slot instead of one that all workers share, so that connections are spread evenly. The
 * master holds them all (SO_REUSEPORT) and alone closes them: what is queued for a worker that died waits for its successor.
 *
 * The kernel asks a classic BPF program which queue a new connection goes to (socket(7), SO_ATTACH_REUSEPORT_CBPF): at random
 * among those that a ready worker serves. Replacing the program is atomic and needs no privilege. A queue's number is the
 * order in which it joined the group; closing one would renumber others, so none is closed before the end.
 */
import type { Worker } from "../core/model.ts";
import type { Bind } from "../options.ts";
import { acceptQueue } from "./accept-queue.ts";
import { type Listener, openQueue } from "./listeners.ts";
import { native } from "./native.ts";

/** BPF_MAXINSNS, and what fits in net.core.optmem_max by default (20 KiB). */
const maxInstructions = 2000;

/** The descriptor that the worker of `slot` accepts from; opens its queue where there is none yet. Throws {code, syscall}. */
export function queueOf(listener: Listener, bind: Bind | undefined, slot: number, backlog: number): number {
  const queues = bind?.queues ?? null;
  if (bind !== undefined && queues !== null) {
    const wanted = queues === "per-worker" ? slot + 1 : Math.min(queues, slot + 1);
    while (listener.fds.length < wanted) openQueue(listener, bind, backlog);
  }
  return listener.fds[slot % listener.fds.length] as number;
}

/** Keeps the kernel's programs in step with who is ready. */
export class Steering {
  readonly #listeners: readonly Listener[];
  readonly #trouble: (message: string) => void;
  #workers: readonly Worker[] | null = null;
  /** By listener: the queues that its program chooses from. */
  readonly #current = new Map<Listener, string>();

  /** Those of `listeners` whose bind has queues; UDP keeps the kernel's hash, which keeps a peer's datagrams together. */
  constructor(listeners: readonly Listener[], binds: readonly Bind[], trouble: (message: string) => void) {
    this.#trouble = trouble;
    this.#listeners = listeners.filter((listener) => {
      const bind = binds.find(({ text }) => text === listener.text);
      return bind !== undefined && bind.queues !== null && bind.target.kind === "tcp";
    });
  }

  /**
   * Calls `tell` when this worker may be asked to finish: at once where another goes on with its queue, else when it has
   * accepted what waits there, for the master steers new connections elsewhere already. A second is the longest.
   */
  whenServed(worker: Worker, workers: readonly Worker[], tell: () => void): void {
    const mine = this.#listeners.map((listener) => listener.fds[worker.slot % listener.fds.length] as number);
    const goesOn = ({ id, phase, slot }: Worker) =>
      id !== worker.id && (phase.kind === "ready" || phase.kind === "starting") && this.#shareQueue(slot, worker.slot);
    if (mine.length === 0 || workers.some(goesOn)) return tell();
    // A handshake that is under way ends in a queue that was empty a moment ago.
    let emptyLooks = 0;
    let looks = 0;
    const look = () => {
      const isEmpty = mine.every((fd) => (acceptQueue(native, fd, "AF_INET")?.depth ?? 0) === 0);
      emptyLooks = isEmpty ? emptyLooks + 1 : 0;
      looks += 1;
      if (emptyLooks >= 3 || looks >= 100) tell();
      else setTimeout(look, 10);
    };
    look();
  }

  #shareQueue(slot: number, other: number): boolean {
    return this.#listeners.every(({ fds }) => slot % fds.length === other % fds.length);
  }

  /** To be called whenever workers may have changed; costs nothing when they have not. */
  follow(workers: readonly Worker[]): void {
    if (this.#listeners.length === 0 || workers === this.#workers) return;
    this.#workers = workers;
    for (const listener of this.#listeners) this.#steer(listener, workers);
  }

  #steer(listener: Listener, workers: readonly Worker[]): void {
    const count = listener.fds.length;
    const ready = new Set(workers.filter(({ phase }) => phase.kind === "ready").map(({ slot }) => slot % count));
    // Nobody is ready: connections wait where a worker is about to be, or where any will be.
    if (ready.size === 0) for (const { slot, phase } of workers) if (phase.kind === "starting") ready.add(slot % count);
    if (ready.size === 0) return;
    const queues = [...ready].sort((a, b) => a - b);
    const key = queues.join();
    if (this.#current.get(listener) === key) return;
    try {
      native.attachReuseportFilter({ fd: listener.fds[0] as number, program: steeringProgram(queues) });
      this.#current.set(listener, key);
    } catch (error) {
      this.#trouble(`Connections to ${listener.address} cannot be steered: ${(error as Error).message}`);
    }
  }
}

/** struct sock_filter of linux/filter.h, in the machine's byte order: all machines that einhorn runs on are little-endian. */
function instruction(code: number, ifTrue: number, ifFalse: number, k: number): number[] {
  return [code & 255, code >> 8, ifTrue, ifFalse, k & 255, (k >>> 8) & 255, (k >>> 16) & 255, k >>> 24];
}

const loadWord = 0x20;
/** SKF_AD_OFF + SKF_AD_RANDOM: a random number in place of a word of the packet. */
const random = 0xfffff000 + 56;
const modulo = 0x94;
const add = 0x04;
const jumpIfAtLeast = 0x35;
const returnAccumulator = 0x16;

/**
 * A program that returns one of `queues`, ascending, each as often as the others: a random number below their count, moved up
 * by what is missing before it. Neighbours share one step, so it is short unless every other queue is missing.
 */
export function steeringProgram(queues: readonly number[]): Uint8Array {
  const runs: { from: number; offset: number }[] = [];
  queues.forEach((queue, index) => {
    if (runs.at(-1)?.offset !== queue - index) runs.push({ from: index, offset: queue - index });
  });
  if (runs.length * 3 > maxInstructions) return steeringProgram(queues.slice(0, runs[maxInstructions / 4]?.from));
  const steps = runs.flatMap(({ offset }, n) => {
    const next = runs[n + 1];
    return [
      ...(next === undefined ? [] : instruction(jumpIfAtLeast, 2, 0, next.from)),
      ...instruction(add, 0, 0, offset),
      ...instruction(returnAccumulator, 0, 0, 0),
    ];
  });
  return Uint8Array.from([
    ...instruction(loadWord, 0, 0, random),
    ...instruction(modulo, 0, 0, queues.length),
    ...steps,
  ]);
}
