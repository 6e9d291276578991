/**
 * The master: the real kernel behind the core's `Ports`. Started once, resumed by every image after that from the document
 * that the image before left. What each part does stands in system/ and control/; this file only joins them.
 */
import { closeSync } from "node:fs";
import { CommandServer } from "./control/server.ts";
import { encodeState } from "./core/handover.ts";
import type { About, Event, Pid, Signal, State } from "./core/model.ts";
import { byPid } from "./core/pool.ts";
import { Keeper } from "./keeping.ts";
import { createCapture, pipeMaker } from "./master/capturing.ts";
import { Checker } from "./master/checker.ts";
import { Notices } from "./master/notices.ts";
import { createPreload } from "./master/preloading.ts";
import { serveProbes } from "./master/probing.ts";
import { Reaper } from "./master/reaper.ts";
import { reception } from "./master/reception.ts";
import { type CrashEvent, crashEvent, surrender } from "./master/recovery.ts";
import { type Shell, type ShellAtStart, shellFds } from "./master/shell.ts";
import { signalWorker } from "./master/signalling.ts";
import { type SpawnOrder, Starts } from "./master/starts.ts";
import type { Options } from "./options.ts";
import type { Ports } from "./ports.ts";
import { type Supervisor, supervise } from "./supervisor.ts";
import { createAuthority } from "./system/authority.ts";
import type { Capture } from "./system/capture.ts";
import { Alarm, now } from "./system/clock.ts";
import type { Note } from "./system/crash-note.ts";
import { removeFiles } from "./system/files.ts";
import type { HttpServer } from "./system/http.ts";
import { IdleTrim } from "./system/idle.ts";
import { closeListeners } from "./system/listeners.ts";
import { Log } from "./system/log.ts";
import { native } from "./system/native.ts";
import { type Announcement, notifyParent } from "./system/notify-parent.ts";
import { Outlet } from "./system/outlet.ts";
import type { Preload } from "./system/preload.ts";
import { kill, rssBytes } from "./system/processes.ts";
import { Steering } from "./system/queues.ts";
import * as reactor from "./system/reactor.ts";
import { executeNext } from "./system/reexec.ts";
import { catchSignals, release, type SignalPipe } from "./system/signals.ts";
import { firstWorkerFd, type SpawnContext, spawnWorker } from "./system/spawner.ts";
import { closeStrays } from "./system/strays.ts";
import { prepareSurvival, type Survival, type SurvivalSettings } from "./system/survival.ts";
import { version } from "./version.ts";

const stopSignals: ReadonlySet<Signal> = new Set(["SIGTERM", "SIGINT", "SIGUSR2", "SIGQUIT"]);

export type Exit = (code: number) => never;

export class Master {
  readonly #options: Options;
  readonly #exit: Exit;
  readonly #shell: ShellAtStart;
  readonly #log: Log;
  readonly #alarm: Alarm;
  readonly #control: CommandServer;
  readonly #preload: Preload | null;
  readonly #capture: Capture;
  readonly #authority = createAuthority({
    uid: process.geteuid?.() ?? 0,
    isWorker: (pid) => this.#isWorker(pid),
  });
  #http: HttpServer | null = null;
  #supervisor!: Supervisor;
  #signals!: SignalPipe;
  #keeper: Keeper | null = null;
  /** Connections that were accepted and not written down when the master crashed. */
  readonly #strays: number[] = [];
  #survival: Survival | null = null;
  readonly #idle = new IdleTrim();
  readonly #steering: Steering;
  readonly #notices: Notices;
  readonly #checker: Checker;
  readonly #reaper: Reaper;
  readonly #starts: Starts;

  constructor(options: Options, exit: Exit, shell: ShellAtStart) {
    this.#options = options;
    this.#exit = exit;
    this.#shell = shell;
    const outlet = new Outlet({ watcher: reactor, poll: native.poll });
    this.#log = new Log({ format: options.logFormat, level: "debug", outlet, pending: shell.log });
    const keep = () => this.#survival?.save();
    this.#capture = createCapture({ from: shell.capture ?? null, outlet, log: this.#log, keep });
    this.#steering = new Steering(shell.listeners, options.binds, (message) => this.#log.error(message));
    this.#alarm = new Alarm(() => this.#deliver({ kind: "woke" }));
    this.#control = this.#createControl();
    this.#preload = this.#createPreload();
    const deliver = (...events: readonly Event[]) => this.#deliver(...events);
    this.#notices = new Notices({
      from: shell.notify ?? null,
      authority: this.#authority,
      log: this.#log,
      deliver,
      deliverSurely: (event) => this.#deliverSurely(event),
    });
    this.#checker = new Checker(options, deliver);
    // While an image takes over, nobody answers.
    const areClientsWaiting = shell.signals !== null;
    const start = (order: SpawnOrder) => this.#execute(order);
    this.#starts = new Starts({ state: () => this.#supervisor.state(), start, deliver, areClientsWaiting });
    this.#reaper = new Reaper({
      state: () => this.#supervisor.state(),
      deliver,
      preload: this.#preload,
      checker: this.#checker,
      lastWords: (pid) => this.#capture.lastWords(pid),
    });
  }

  /** Everything is open: from here on failure is an event, not an exception. */
  run(state: State, first: Event, heard: readonly Event[] = []): void {
    this.#supervisor = supervise(state, this.#ports());
    this.#signals = catchSignals((signal) => this.#signalled(signal), this.#shell.signals ?? undefined);
    if (first.kind !== "booted") this.#survive(state, heard);
    if (first.kind === "booted") {
      for (const { text, address } of this.#shell.listeners) this.#log.info(`Listening on ${address}`, { bind: text });
    }
    this.#preload?.resume();
    this.#capture.resume();
    this.#notices.resume();
    this.#deliver(first);
    // The first workers do not wait for this: a crash before them leaves nothing behind that the next start could miss.
    if (first.kind === "booted") this.#survive(this.#supervisor.state());
    this.#endLostSpawns();
    for (const event of heard) this.#deliverSurely(event);
    release();
    // Who died between the two images left no signal that anybody saw.
    this.#reaper.reap();
    for (const fd of this.#strays) this.#control.adoptStray(fd);
    this.#control.start(first.kind === "crashed" ? () => this.#survival?.save() : null);
    const { http, listeners } = this.#shell;
    if (http !== null) this.#http = serveProbes(http, listeners, () => this.#supervisor.state());
  }

  /** Ordered from a zygote that this image was told nothing of: ordered again. */
  #endLostSpawns(): void {
    for (const { id, pid } of this.#supervisor.state().workers) {
      if (pid === null && !this.#preload?.expects(id) && !this.#starts.expects(id))
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
    const options = this.#options;
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
  #survive(state: State, heard: readonly Event[] = []): void {
    const keeper = new Keeper(state, {
      // Its connections come and go without being written down: they end with the image.
      shell: () => this.#document(state, []).shell,
      connectionChanges: () => this.#control.takeChanges(),
      captureChanges: () => this.#capture.takeChanges(),
      changingShell: () => ({ preload: this.#preload?.toState() ?? null, notify: this.#notices.socket }),
    });
    keeper.expect(heard);
    this.#keeper = keeper;
    const settings: SurvivalSettings = {
      options: this.#options,
      changes: () => keeper.changes(),
      everything: () => keeper.everything(),
      trouble: (message) => this.#log.error(message),
    };
    prepareSurvival(settings, (survival) => {
      this.#survival = survival;
    });
    process.on("uncaughtException", (error) => {
      if (this.#survival === null) this.#log.error(`[BUG] ${error instanceof Error ? error.stack : error}`);
      else this.#survival.crash(error);
    });
  }

  /** What happened while nobody looked, from the world itself. */
  crashed(state: State, note: Note): CrashEvent {
    const code = surrender(state, this.#shell);
    if (code !== null) this.#exit(code);
    const connections = this.#control.connectionIds();
    const event = crashEvent({ state, shell: this.#shell, note, about: this.about(), connections });
    for (const pid of event.lost) this.#capture.lastWords(pid);
    for (const { pid } of event.found) this.#capture.recognise(pid);
    return event;
  }

  /** Closes descriptors that the image before left and the document does not name. */
  closeStrangers(afterCrash = false): void {
    this.#strays.push(...closeStrays(shellFds(this.#shell), afterCrash ? this.#shell.files.socketPath : null));
  }

  #deliver(...events: readonly Event[]): void {
    this.#supervisor.deliver(...events);
    this.#idle.touch();
    this.#steering.follow(this.#supervisor.state().workers);
    this.#preload?.follow(this.#supervisor.state());
  }

  /** What is said only once: a crash on the way does not lose it. */
  #deliverSurely(event: Event): void {
    const deliver = () => this.#deliver(event);
    if (this.#keeper === null) deliver();
    else this.#keeper.surely(event, () => this.#survival?.save(), deliver);
  }

  #ports(): Ports {
    return {
      clock: { now, wakeAt: (at) => this.#alarm.set(at) },
      processes: {
        spawn: (order) => this.#spawn(order),
        signal: (pid, signal) => signalWorker(pid, signal, () => this.#supervisor.state(), this.#steering),
        signalRest: (signal) => {
          kill(-1, signal);
          setImmediate(() => this.#reaper.reap());
        },
        measure: (pids) => Object.fromEntries(pids.map((pid) => [pid, rssBytes(pid) ?? 0])),
      },
      reexec: {
        check: () => this.#checker.start(this.#document(this.#supervisor.state())),
        endCheck: () => this.#checker.giveUp(),
        exec: (state) => this.#replaceImage(state),
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

  /** Null: a zygote forks it, or its turn is yet to come, and so is the event. */
  #spawn(order: SpawnOrder): Pid | null {
    return this.#preload?.order(order) ? null : this.#starts.order(order);
  }

  #execute(order: SpawnOrder): Pid {
    const { pid, connection, captured } = spawnWorker(order, this.#spawnContext());
    if (connection !== null) this.#adopt(connection, pid);
    if (captured !== null) this.#capture.belongs(captured, pid);
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
      notifySocket: this.#supervisor.state().config.ackMode.kind === "notify" ? this.#notices.name() : null,
      capture: pipeMaker(this.#options, this.#capture),
      nofile: this.#shell.nofile,
    };
  }

  #createPreload(): Preload | null {
    return createPreload(this.#options, this.#shell.preload ?? null, {
      context: () => this.#spawnContext(),
      state: () => this.#supervisor.state(),
      execute: (order) => this.#execute(order),
      adopt: (connection, pid) => this.#adopt(connection, pid),
      captured: (pipe, pid) => this.#capture.belongs(pipe, pid),
      deliver: (event) => this.#deliver(event),
      keep: () => this.#survival?.save(),
      log: (level, message) => this.#log.write(level, message, {}),
    });
  }

  #signalled(signal: Signal): void {
    if (signal === "SIGCHLD") this.#reaper.reap();
    else if (stopSignals.has(signal)) this.#deliverSurely({ kind: "signal", signal });
    else this.#deliver({ kind: "signal", signal });
  }

  #document(state: State, probes = this.#http?.handOver() ?? []): { shell: Shell } & ReturnType<typeof encodeState> {
    const http = this.#shell.http;
    const shell: Shell = {
      ...this.#shell,
      http: http === null ? null : { ...http, connections: probes },
      control: this.#control.toState(),
      preload: this.#preload?.toState() ?? null,
      capture: this.#capture.toState(),
      notify: this.#notices.socket,
      signals: this.#signals,
      log: "",
      execMs: now(),
    };
    return { ...encodeState(state), shell };
  }

  #replaceImage(state: State): string {
    const document = this.#document(state);
    // Lines that nobody has read yet are the next image's to write.
    return executeNext(this.#options, { ...document, shell: { ...document.shell, log: this.#log.takePending() } });
  }

  #createControl(): CommandServer {
    return new CommandServer({
      from: this.#shell.control,
      kernel: { ...native, close: closeSync, watch: reactor.watch, unwatch: reactor.unwatch },
      authority: this.#authority,
      changed: () => this.#survival?.saveSoon(),
      handlers: reception({
        log: this.#log,
        control: () => this.#control,
        deliver: (event) => this.#deliver(event),
        deliverSurely: (event) => this.#deliverSurely(event),
      }),
    });
  }

  #isWorker(pid: Pid): boolean {
    const isKnown = () => byPid(this.#supervisor.state(), pid) !== undefined;
    if (isKnown()) return true;
    this.#preload?.listen();
    return isKnown();
  }

  #announce(state: string): void {
    const socket = process.env.NOTIFY_SOCKET;
    if (socket) notifyParent(native, socket, state as Announcement, now(), (message) => this.#log.debug(message));
  }

  #leave(code: number): void {
    this.#preload?.kill();
    this.#capture.farewell();
    this.#notices.close();
    this.#http?.close();
    this.#control.close();
    const { listeners, http, files } = this.#shell;
    closeListeners(http === null ? listeners : [...listeners, http.listener]);
    removeFiles(files);
    native.endSurvival({ exitCode: code });
    this.#exit(code);
  }
}
