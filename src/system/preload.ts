/** `--preload` in the master: joins the zygotes to the options, the sockets and the state. */
import type { Event, Generation, Launch, Level, Millis, Pid, State } from "../core/model.ts";
import { isStopping } from "../core/pool.ts";
import { inheritedVariables } from "../core/worker-env.ts";
import { type Exit, livingChildren } from "./processes.ts";
import { outfitWorker, type SpawnContext, settingsOf } from "./spawner.ts";
import { zygoteCommand } from "./zygote-command.ts";
import type { Newborn, ZygoteHost, ZygoteOrder } from "./zygote-orders.ts";
import type { Place, Zygote } from "./zygote-place.ts";
import { sparePlaces, startZygote } from "./zygote-process.ts";
import { Zygotes } from "./zygotes.ts";

/** What one image leaves for the next. */
export interface PreloadState {
  places: readonly Place[];
  /** Its birth was read from the zygote and is in no state yet. */
  newborn: Newborn | null;
}

export interface PreloadHost {
  context(): SpawnContext;
  state(): State;
  now(): Millis;
  execute(order: ZygoteOrder): void;
  adopt(connection: number, pid: Pid): void;
  captured(pipe: number, pid: Pid): void;
  deliver(event: Event): void;
  kill(pid: Pid): void;
  log(level: Level, message: string): void;
  /** Writes down what `toState` gives, for a crash. */
  keep(): void;
}

export class Preload {
  readonly #path: string;
  readonly #zygotes: Zygotes;
  readonly #host: PreloadHost;
  #newborn: Newborn | null = null;

  constructor(path: string, host: PreloadHost, from: PreloadState | null) {
    this.#path = path;
    this.#host = host;
    this.#zygotes = new Zygotes(
      {
        ...zygoteHost(path, host),
        changed: () => this.follow(host.state()),
        surely: (born, record) => this.#record(born, record),
      },
      from?.places,
    );
  }

  resume(): void {
    this.#zygotes.resume();
  }

  /** True: `spawned` or `unspawned` will tell. False: the caller starts the worker by exec. */
  order(order: ZygoteOrder): boolean {
    return this.#zygotes.order(order);
  }

  /** After each event: zygotes of generations that are over go, and what has changed is said. */
  follow(state: State): void {
    const stopping = isStopping(state);
    this.#zygotes.keep(new Set<Generation>(stopping ? [] : Object.keys(state.launches).map(Number)));
    if (stopping) return;
    const { progress, reason } = this.#zygotes.status(state.generation);
    const { preload } = state.about;
    if (preload !== null && preload.active === (progress === "active") && preload.reason === reason) return;
    this.#host.deliver({ kind: "preloaded", path: this.#path, progress, reason });
  }

  /** Takes in births that nobody has heard of yet. */
  listen(): void {
    this.#zygotes.listen();
  }

  /** True if it was a zygote that ended. */
  died({ pid, code, signal }: Exit): boolean {
    return this.#zygotes.died(pid, code === null ? `was killed by ${signal}` : `exited with code ${code}`);
  }

  /** A forked worker has the environment of its zygote in /proc: after a crash it could not be told from a stranger. */
  #record(born: Newborn, record: () => void): void {
    this.#newborn = born;
    this.#host.keep();
    record();
    this.#newborn = null;
  }

  /** True for a worker whose birth, or its failure, is still to come. */
  expects(id: number): boolean {
    return this.#zygotes.orders().includes(id);
  }

  kill(): void {
    this.#zygotes.kill();
  }

  toState(): PreloadState {
    return { places: this.#zygotes.toState(), newborn: this.#newborn };
  }
}

/** Descriptors that the next image must keep. */
export function preloadFds(state: PreloadState | null): number[] {
  return (state?.places ?? []).flatMap(({ zygote, orders }) => [
    ...(zygote === null ? [] : [zygote.fd]),
    ...orders.flatMap(({ connection }) => (connection === null ? [] : [connection])),
  ]);
}

/**
 * What of it can be relied on after a crash: zygotes that had loaded and still live. Their births on the way belong to
 * orders that are given again; one that was loading may have said so to nobody.
 */
export function preloadAfterCrash(from: PreloadState | null, state: State): PreloadState | null {
  if (from === null) return null;
  const workers = new Set(state.workers.map(({ pid }) => pid));
  const children = new Set(livingChildren().filter((pid) => !workers.has(pid)));
  const places = from.places.filter(({ zygote, retired }) => {
    if (zygote === null) return !retired;
    const isReliable = zygote.loaded && zygote.lingerUntil === null && !retired && children.has(zygote.pid);
    if (!isReliable && children.has(zygote.pid)) process.kill(zygote.pid, "SIGKILL");
    return isReliable;
  });
  return { ...from, places: places.map((place) => ({ ...place, orders: [] })) };
}

function zygoteHost(path: string, host: PreloadHost): Omit<ZygoteHost, "changed" | "surely"> {
  const collect = () => host.context().options.gcBeforeFork;
  const socketCount = () => {
    const { listeners, options } = host.context();
    return listeners.length + (options.commandSocketAsFd ? 1 : 0) + (options.captureStderr ? 1 : 0);
  };
  return {
    ...host,
    socketCount,
    key: (launch) => {
      const env = Object.entries(launch.env).sort(([a], [b]) => (a < b ? -1 : 1));
      return JSON.stringify([path, collect(), launch.argv, launch.cwd, env, host.context().options.worker]);
    },
    start: (launch) =>
      start(path, launch, { context: host.context(), places: socketCount() + sparePlaces, now: host.now() }),
    outfit: (order) => outfitWorker(order, host.context()),
    launchOf: (generation) => host.state().launches[generation],
  };
}

function start(path: string, launch: Launch, o: { context: SpawnContext; places: number; now: Millis }): Zygote {
  const searchPath = launch.env.PATH;
  const command = zygoteCommand({ path, argv: launch.argv, cwd: launch.cwd, searchPath });
  if (command === null) {
    throw new Error(
      "it is neither .rb nor .py, the command is started by neither ruby nor python, and it is no executable file",
    );
  }
  const { pid, fd } = startZygote({
    command,
    path,
    collect: o.context.options.gcBeforeFork,
    places: o.places,
    env: inheritedVariables(launch.env),
    searchPath,
    settings: settingsOf(launch, o.context),
  });
  return { pid, fd, places: o.places, loaded: false, heardAt: o.now, silent: false, end: null, lingerUntil: null };
}
