/**
 * The master: the real kernel behind the core's `Ports`. Started once, resumed by every image after that from the document
 * that the image before left. What each part does stands in system/ and control/; this file only joins them.
 */
import { closeSync } from "node:fs";
import { CommandServer, type ControlState } from "./control/server.ts";
import { readCommand } from "./core/commands.ts";
import { crashExitCode, crashLimit } from "./core/crash.ts";
import { poolSamples, queueSamples } from "./core/figures.ts";
import { encodeState } from "./core/handover.ts";
import type { About, Config, Event, Millis, Pid, Signal, State } from "./core/model.ts";
import { byPid } from "./core/pool.ts";
import { readiness, statusData } from "./core/views.ts";
import { Keeper } from "./keeping.ts";
import type { Options } from "./options.ts";
import type { Ports } from "./ports.ts";
import { reportSpawn, type Supervisor, supervise } from "./supervisor.ts";
import { acceptQueue } from "./system/accept-queue.ts";
import { createAuthority } from "./system/authority.ts";
import { Alarm, now } from "./system/clock.ts";
import type { Note } from "./system/crash-note.ts";
import { type Files, removeFiles } from "./system/files.ts";
import { HttpServer } from "./system/http.ts";
import { IdleTrim } from "./system/idle.ts";
import { closeListeners, type Listener } from "./system/listeners.ts";
import { Log } from "./system/log.ts";
import { native } from "./system/native.ts";
import { type Announcement, notifyParent } from "./system/notify-parent.ts";
import {
  closeNotifySocket,
  type Notice,
  type NotifySocket,
  openNotifySocket,
  watchNotices,
} from "./system/notify-socket.ts";
import { OrphanPace } from "./system/orphan-pace.ts";
import { Preload, type PreloadState, preloadFds } from "./system/preload.ts";
import { probes } from "./system/probes.ts";
import {
  catchesSignal,
  childPids,
  livingChildren,
  oomKills,
  reap,
  rssBytes,
  signalNumber,
  workersAmong,
} from "./system/processes.ts";
import { Steering } from "./system/queues.ts";
import * as reactor from "./system/reactor.ts";
import type { HttpSocket } from "./system/rebinding.ts";
import { type Check, executeNext, judgeCheck, startCheck } from "./system/reexec.ts";
import { catchSignals, release, type SignalPipe } from "./system/signals.ts";
import { firstWorkerFd, type SpawnContext, spawnWorker } from "./system/spawner.ts";
import { closeStrays } from "./system/strays.ts";
import { Survival } from "./system/survival.ts";
import { version } from "./version.ts";

/** What one image leaves for the next beside the core's state. Descriptors in it are inherited. */
export interface Shell {
  /** The command line of the first start: options are read from it again by every image. */
  argv: readonly string[];
  /** What they said last time, for when they cannot be read any more. */
  options: Options;
  /** The settings among them, to see which of them changed. */
  configured: Config;
  cwd: string;
  listeners: readonly Listener[];
  http: HttpSocket | null;
  control: ControlState;
  files: Files;
  /** Zygotes that live; absent in documents of images before there were any. */
  preload?: PreloadState | null;
  /** With `-m notify`. */
  notify?: NotifySocket | null;
  signals: SignalPipe;
  nofile: { soft: number; hard: number } | null;
  log: string;
  execMs: Millis;
  /** When it crashed, as far as that still counts. */
  crashes: readonly Millis[];
}

const stopSignals: ReadonlySet<Signal> = new Set(["SIGTERM", "SIGINT", "SIGUSR2", "SIGQUIT"]);
/** How long orphans are counted before the core hears of them. */
const orphansEveryMs = 100;

export type Exit = (code: number) => never;
type SpawnEffect = Parameters<Ports["processes"]["spawn"]>[0];

export class Master {
  readonly #options: Options;
  readonly #exit: Exit;
  readonly #shell: Omit<Shell, "signals" | "execMs"> & { signals: SignalPipe | null };
  readonly #log: Log;
  readonly #alarm: Alarm;
  readonly #control: CommandServer;
  readonly #preload: Preload | null;
  readonly #authority = createAuthority({
    uid: process.geteuid?.() ?? 0,
    isWorker: (pid) => this.#isWorker(pid),
  });
  #http: HttpServer | null = null;
  #supervisor!: Supervisor;
  #signals!: SignalPipe;
  #check: Check | null = null;
  #oomKills: number | null = null;
  #keeper: Keeper | null = null;
  /** Connections that were accepted and not written down when the master crashed. */
  readonly #strays: number[] = [];
  #survival: Survival | null = null;
  readonly #idle = new IdleTrim();
  readonly #steering: Steering;
  readonly #funeral = new OrphanPace(() => this.#reap());
  #orphans = 0;
  #orphansDue: NodeJS.Timeout | null = null;
  #known: { workers: State["workers"] | null; check: Pid | null; pids: Int32Array } = {
    workers: null,
    check: null,
    pids: new Int32Array(),
  };

  constructor(options: Options, exit: Exit, shell: Omit<Shell, "signals" | "execMs"> & { signals: SignalPipe | null }) {
    this.#options = options;
    this.#exit = exit;
    this.#shell = shell;
    this.#log = new Log({
      format: options.logFormat,
      level: "debug",
      watcher: reactor,
      poll: native.poll,
      pending: shell.log,
    });
    this.#steering = new Steering(shell.listeners, options.binds, (message) => this.#log.error(message));
    this.#alarm = new Alarm(() => this.#deliver({ kind: "woke" }));
    this.#control = this.#createControl();
    this.#preload = this.#createPreload();
  }

  /** Everything is open: from here on failure is an event, not an exception. */
  run(state: State, first: Event, heard: readonly Event[] = []): void {
    this.#supervisor = supervise(state, this.#ports());
    this.#signals = catchSignals((signal) => this.#signalled(signal), this.#shell.signals ?? undefined);
    if (first.kind !== "booted") this.#survive(state);
    this.#oomKills = oomKills();
    if (first.kind === "booted") {
      for (const { text, address } of this.#shell.listeners) this.#log.info(`Listening on ${address}`, { bind: text });
    }
    this.#preload?.resume();
    if (this.#shell.notify != null) this.#watchNotices(this.#shell.notify);
    this.#deliver(first);
    // The first workers do not wait for this: a crash before them leaves nothing behind that the next start could miss.
    if (first.kind === "booted") this.#survive(this.#supervisor.state());
    this.#endLostSpawns();
    for (const event of heard) this.#deliver(event);
    release();
    // Who died between the two images left no signal that anybody saw.
    this.#reap();
    for (const fd of this.#strays) this.#control.adoptStray(fd);
    this.#control.start();
    this.#startHttp();
  }

  /** Ordered from a zygote that this image was told nothing of: ordered again. */
  #endLostSpawns(): void {
    for (const { id, pid } of this.#supervisor.state().workers) {
      if (pid === null && !this.#preload?.expects(id))
        this.#deliver({ kind: "unspawned", id, errno: "ECANCELED", syscall: "fork" });
    }
  }

  /** Something the operator should know about how this master was started. */
  note(message: string): void {
    this.#log.info(message);
  }

  /** Something that went wrong and changes nothing for the workers that run. */
  complain(message: string): void {
    this.#log.error(message);
  }

  about(): About {
    const { options } = { options: this.#options };
    return {
      pid: process.pid,
      version,
      commandName: options.commandName,
      socketPath: this.#shell.files.socketPath,
      argv: options.program,
      binds: this.#shell.listeners.map(({ text, address, family, port }, index) => ({
        text,
        address,
        family,
        port,
        workerFd: firstWorkerFd + index,
      })),
      isPid1: process.pid === 1,
      preload: options.preload === null ? null : { path: options.preload, active: false, reason: "not loaded yet" },
    };
  }

  /** An exception while taking over is one like any other. */
  runOrCrash(...o: Parameters<Master["run"]>): void {
    try {
      this.run(...o);
    } catch (error) {
      if (this.#survival === null) throw error;
      this.#survival.crash(error);
    }
  }

  /** A crash from here on leads to an image that goes on from the last whole turn. */
  #survive(state: State): void {
    const keeper = new Keeper(state, {
      // Its connections come and go without being written down: they end with the image.
      shell: () => this.#document(state, []).shell,
      connectionChanges: () => this.#control.takeChanges(),
      changingShell: () => ({ preload: this.#preload?.toState() ?? null, notify: this.#shell.notify ?? null }),
    });
    this.#keeper = keeper;
    try {
      this.#survival = new Survival({
        options: this.#options,
        changes: () => keeper.changes(),
        everything: () => keeper.everything(),
        trouble: (message) => this.#log.error(message),
      });
    } catch (error) {
      this.#log.error(`A crash of the master would be its end: ${(error as Error).message}`);
    }
    process.on("uncaughtException", (error) => {
      if (this.#survival === null) this.#log.error(`[BUG] ${error instanceof Error ? error.stack : error}`);
      else this.#survival.crash(error);
    });
  }

  /** What happened while nobody looked, from the world itself. */
  crashed(state: State, note: Note): Event {
    const children = new Set(childPids());
    const known = new Set(state.workers.flatMap(({ pid }) => pid ?? []));
    const strangers = livingChildren().filter((pid) => !known.has(pid));
    const newborn = this.#shell.preload?.newborn;
    const recent = this.#shell.crashes.length;
    if (recent > crashLimit + 3) this.#surrender(known);
    const tookMs = note.at === null ? "" : ` (after ${Math.round(now() - note.at)}ms)`;
    return {
      kind: "crashed",
      reason: `${note.reason}${tookMs}`,
      recent,
      about: this.about(),
      lost: [...known].filter((pid) => !children.has(pid)),
      found: [...workersAmong(strangers), ...(newborn && strangers.includes(newborn.pid) ? [newborn] : [])],
      connections: this.#control.connectionIds(),
    };
  }

  /** It crashes before it can even stop. */
  #surrender(workers: Iterable<Pid>): never {
    for (const pid of workers) kill(pid, "SIGTERM");
    this.#exit(crashExitCode);
  }

  /** Closes descriptors that the image before left and the document does not name. */
  closeStrangers(afterCrash = false): void {
    const { listeners, http, control, files, signals } = this.#shell;
    const known = new Set<number | null | undefined>([
      ...listeners.flatMap(({ fds }) => fds),
      ...(http === null ? [] : [...http.listener.fds, ...http.connections.map(({ fd }) => fd)]),
      control.listener,
      ...control.connections.map(({ fd }) => fd),
      files.listener,
      signals?.read,
      signals?.write,
      this.#shell.notify?.fd,
      ...preloadFds(this.#shell.preload ?? null),
    ]);
    this.#strays.push(...closeStrays(known, afterCrash ? files.socketPath : null));
  }

  #deliver(event: Event): void {
    this.#supervisor.deliver(event);
    this.#idle.touch();
    this.#steering.follow(this.#supervisor.state().workers);
    this.#preload?.follow(this.#supervisor.state());
  }

  /** What is said only once: a crash on the way does not lose it. */
  #deliverSurely(event: Event): void {
    this.#keeper?.expect(event);
    this.#survival?.save();
    this.#deliver(event);
  }

  #ports(): Ports {
    return {
      clock: { now, wakeAt: (at) => this.#alarm.set(at) },
      processes: {
        spawn: (order) => this.#spawn(order),
        signal: (pid, signal) => this.#signal(pid, signal),
        signalRest: (signal) => {
          kill(-1, signal);
          setImmediate(() => this.#reap());
        },
        measure: (pids) => Object.fromEntries(pids.map((pid) => [pid, rssBytes(pid) ?? 0])),
      },
      reexec: {
        check: () => this.#startCheck(),
        endCheck: () => {
          if (this.#check === null) return;
          this.#check.timedOut = true;
          kill(this.#check.pid, "SIGKILL");
        },
        exec: (state) => executeNext(this.#options, this.#document(state)),
      },
      save: (state) => {
        this.#keeper?.set(state);
        this.#survival?.save();
      },
      control: { reply: (asker, reply) => this.#control.reply(asker, reply) },
      // The core's messages say in words what the fields say to a machine.
      log: ({ level, message, fields }) =>
        this.#log.write(level, message, this.#options.logFormat === "json" ? fields : {}),
      announce: (state) => this.#announce(state),
      exit: (code) => this.#leave(code),
    };
  }

  /** Null: a zygote forks it, and the event comes later. */
  #spawn(order: SpawnEffect): Pid | null {
    return this.#preload?.order(order) ? null : this.#execute(order);
  }

  #execute(order: Omit<SpawnEffect, "kind">): Pid {
    const { pid, connection } = spawnWorker(order, this.#spawnContext());
    if (connection !== null) this.#adopt(connection, pid);
    return pid;
  }

  #adopt(connection: number, pid: Pid): void {
    this.#control.adopt({ fd: connection, pid, uid: this.#options.worker.user?.uid ?? process.geteuid?.() ?? 0 });
  }

  #spawnContext(): SpawnContext {
    return {
      options: this.#options,
      listeners: this.#shell.listeners,
      socketPath: this.#shell.files.socketPath,
      notifySocket: this.#notifySocket(),
      nofile: this.#shell.nofile,
    };
  }

  /** Opened when it is first needed, as the ACK mode may change; the same from then on. */
  #notifySocket(): string | null {
    if (this.#supervisor.state().config.ackMode.kind !== "notify") return null;
    if (this.#shell.notify == null) {
      this.#shell.notify = openNotifySocket();
      this.#watchNotices(this.#shell.notify);
    }
    return this.#shell.notify.name;
  }

  #watchNotices(socket: NotifySocket): void {
    watchNotices(socket, {
      workerOf: (pid) => this.#authority.workerOf(pid),
      notice: (pid, notice) => this.#notice(pid, notice),
      refused: (sender) => this.#log.error("Dropped an sd_notify message that no worker of ours sent", sender),
    });
  }

  #notice(pid: Pid, { ready, ...said }: Notice): void {
    if (Object.keys(said).length > 0) this.#deliver({ kind: "notified", pid, ...said });
    if (ready) this.#deliverSurely({ kind: "acked", pid, via: "notify" });
  }

  #createPreload(): Preload | null {
    const { preload } = this.#options;
    if (preload === null) return null;
    return new Preload(
      preload,
      {
        context: () => this.#spawnContext(),
        state: () => this.#supervisor.state(),
        now,
        execute: (order) =>
          reportSpawn(
            order.id,
            () => this.#execute(order),
            (event) => this.#deliver(event),
          ),
        adopt: (connection, pid) => this.#adopt(connection, pid),
        deliver: (event) => this.#deliver(event),
        kill: (pid) => kill(pid, "SIGKILL"),
        keep: () => this.#survival?.save(),
        log: (level, message) => this.#log.write(level, message, {}),
      },
      this.#shell.preload ?? null,
    );
  }

  #signal(pid: Pid, signal: Signal | "graceful"): Signal {
    const sent = signal === "graceful" ? this.#gracefulSignal(pid) : signal;
    const { workers, mode } = this.#supervisor.state();
    const worker = byPid(this.#supervisor.state(), pid);
    this.#steering.follow(workers);
    if (signal !== "graceful" || worker === undefined || mode.kind === "stopping") kill(pid, sent);
    else {
      this.#steering.whenServed(worker, workers, () => {
        // It may have ended meanwhile, and its pid may be somebody else's.
        if (byPid(this.#supervisor.state(), pid)?.id === worker.id) kill(pid, sent);
      });
    }
    return sent;
  }

  #gracefulSignal(pid: Pid): Signal {
    const { gracefulSignal } = this.#supervisor.state().config;
    if (gracefulSignal !== "auto") return gracefulSignal;
    return catchesSignal(pid, signalNumber("SIGUSR2") as number) ? "SIGUSR2" : "SIGTERM";
  }

  #signalled(signal: Signal): void {
    if (signal === "SIGCHLD") this.#reap();
    else if (stopSignals.has(signal)) this.#deliverSurely({ kind: "signal", signal });
    else this.#deliver({ kind: "signal", signal });
  }

  /** Every child, whosever it was, in one drain; a thousand at once take several turns of the loop. */
  #reap(): void {
    const { exits, strangers, childless, more } = reap(256, this.#knownPids(), !this.#funeral.crowded);
    this.#preload?.listen();
    let orphans = strangers;
    for (const exit of exits) {
      if (exit.pid === this.#check?.pid) this.#endCheck(exit.code, exit.signal);
      else if (byPid(this.#supervisor.state(), exit.pid) === undefined) orphans += this.#preload?.died(exit) ? 0 : 1;
      else
        this.#deliver({
          kind: "exited",
          ...exit,
          oom: exit.signal === "SIGKILL" && this.#wasOutOfMemory(),
          lastWords: null,
        });
    }
    if (orphans > 0) this.#buried(orphans);
    if (more) setImmediate(() => this.#reap());
    else if (this.#funeral.again(orphans, now())) this.#reap();
    else if (childless && this.#supervisor.state().mode.kind === "sweeping") this.#deliver({ kind: "childless" });
  }

  /** Orphans die one by one and by the thousand: the core hears of them in sums. */
  #buried(orphans: number): void {
    this.#orphans += orphans;
    this.#orphansDue ??= setTimeout(() => {
      this.#orphansDue = null;
      const count = this.#orphans;
      this.#orphans = 0;
      this.#deliver({ kind: "orphans-reaped", count });
    }, orphansEveryMs);
  }

  /** Whose ends matter, ascending. With a preload anybody's may: a worker can end before its zygote has said who it is. */
  #knownPids(): Int32Array | undefined {
    if (this.#preload !== null) return undefined;
    const { workers } = this.#supervisor.state();
    const check = this.#check?.pid ?? null;
    if (this.#known.workers !== workers || this.#known.check !== check) {
      const pids = workers.flatMap(({ pid }) => pid ?? []);
      if (check !== null) pids.push(check);
      this.#known = { workers, check, pids: Int32Array.from(pids).sort() };
    }
    return this.#known.pids;
  }

  #wasOutOfMemory(): boolean {
    const kills = oomKills();
    const grew = kills !== null && this.#oomKills !== null && kills > this.#oomKills;
    this.#oomKills = kills;
    return grew;
  }

  #startCheck(): void {
    try {
      this.#check = startCheck(this.#options, this.#document(this.#supervisor.state()));
    } catch (error) {
      // Not within this turn: the core is still busy with the event that asked for it.
      const reason = (error as Error).message;
      setImmediate(() => this.#deliver({ kind: "checked", reason }));
    }
  }

  #endCheck(code: number | null, signal: Signal | null): void {
    const check = this.#check as Check;
    this.#check = null;
    this.#deliver({ kind: "checked", reason: judgeCheck(check, code, signal) });
  }

  #document(state: State, probes = this.#http?.handOver() ?? []): { shell: Shell } & ReturnType<typeof encodeState> {
    const http = this.#shell.http;
    const shell: Shell = {
      ...this.#shell,
      http: http === null ? null : { ...http, connections: probes },
      control: this.#control.toState(),
      preload: this.#preload?.toState() ?? null,
      signals: this.#signals,
      log: "",
      execMs: now(),
    };
    return { ...encodeState(state), shell };
  }

  #createControl(): CommandServer {
    return new CommandServer({
      from: this.#shell.control,
      kernel: { ...native, close: closeSync, watch: reactor.watch, unwatch: reactor.unwatch },
      authority: this.#authority,
      changed: () => this.#survival?.saveSoon(),
      handlers: {
        command: (asker, request) => {
          const read = readCommand(request);
          if ("command" in read) this.#deliver({ kind: "asked", asker, command: read.command });
          else this.#control.reply(asker, { message: read.error, wait: false, error: true });
        },
        ack: (pid) => this.#deliverSurely({ kind: "acked", pid, via: "command" }),
        ping: (pid, requestId) => this.#deliver({ kind: "pinged", pid, requestId }),
        hungUp: (connection) => this.#deliver({ kind: "hung-up", connection }),
        refused: ({ pid, uid, command, others }) =>
          this.#log.error(`Refused ${command} from pid ${pid} of uid ${uid} on the command socket`, {
            pid,
            uid,
            others,
          }),
        trouble: (message) => this.#log.error(message),
      },
    });
  }

  #isWorker(pid: Pid): boolean {
    const isKnown = () => this.#supervisor.state().workers.some((worker) => worker.pid === pid);
    if (isKnown()) return true;
    this.#preload?.listen();
    return isKnown();
  }

  #startHttp(): void {
    const { http } = this.#shell;
    if (http === null) return;
    this.#http = new HttpServer({
      fd: http.listener.fds[0] as number,
      connections: http.connections,
      reactor,
      sockets: native,
      answer: probes({
        readiness: () => readiness(this.#supervisor.state()),
        started: () => this.#supervisor.state().started,
        status: () => statusData(this.#supervisor.state(), now()),
        samples: () => [...poolSamples(this.#supervisor.state()), ...queueSamples(this.#queues())],
      }),
    });
  }

  #queues() {
    return this.#shell.listeners.flatMap(({ text, address, family, fds }) => {
      const queues = fds.flatMap((fd) => acceptQueue(native, fd, family) ?? []);
      if (queues.length === 0) return [];
      const sum = (read: (queue: { depth: number; limit: number }) => number) =>
        queues.reduce((total, queue) => total + read(queue), 0);
      return [{ text, address, depth: sum(({ depth }) => depth), limit: sum(({ limit }) => limit) }];
    });
  }

  #announce(state: string): void {
    const socket = process.env.NOTIFY_SOCKET;
    if (socket) notifyParent(native, socket, state as Announcement, now(), (message) => this.#log.debug(message));
  }

  #leave(code: number): void {
    this.#preload?.kill();
    if (this.#shell.notify != null) closeNotifySocket(this.#shell.notify);
    this.#http?.close();
    this.#control.close();
    const { listeners, http, files } = this.#shell;
    closeListeners(http === null ? listeners : [...listeners, http.listener]);
    removeFiles(files);
    native.endSurvival({ exitCode: code });
    this.#exit(code);
  }
}

function kill(pid: Pid, signal: Signal): void {
  try {
    process.kill(pid, signalNumber(signal) ?? 15);
  } catch {
    // It is gone, which its exit tells; or it is another user's by now, which nothing here can change.
  }
}
