/**
 * The master: the real kernel behind the core's `Ports`. Started once, resumed by every image after that from the document
 * that the image before left. What each part does stands in system/ and control/; this file only joins them.
 */
import { closeSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { CommandServer, type ControlState } from "./control/server.ts";
import { readCommand } from "./core/commands.ts";
import { crashExitCode, crashLimit, crashWindowMs } from "./core/crash.ts";
import { poolSamples, queueSamples } from "./core/figures.ts";
import { decodeState, encodeState } from "./core/handover.ts";
import { initialState } from "./core/initial.ts";
import type { About, Config, Event, Launch, Millis, Pid, Signal, State } from "./core/model.ts";
import { readiness, statusData } from "./core/views.ts";
import { UserError } from "./errors.ts";
import { documentFrom, Keeper, pendingIn } from "./keeping.ts";
import { mergeReconfigured, type Options, readInvocation } from "./options.ts";
import type { Ports } from "./ports.ts";
import { type Supervisor, supervise } from "./supervisor.ts";
import { acceptQueue } from "./system/accept-queue.ts";
import { createAuthority } from "./system/authority.ts";
import { Alarm, now } from "./system/clock.ts";
import type { Note } from "./system/crash-note.ts";
import { readEnvFile } from "./system/env-file.ts";
import { type MasterFiles, placeFiles, removeFiles } from "./system/files.ts";
import { type HandedOver, HttpServer } from "./system/http.ts";
import { closeListeners, type Listener, openListener, openListeners } from "./system/listeners.ts";
import { Log } from "./system/log.ts";
import { native } from "./system/native.ts";
import { type Announcement, notifyParent } from "./system/notify-parent.ts";
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
import * as reactor from "./system/reactor.ts";
import { type Check, checkPassed, executeNext, judgeCheck, readDocument, startCheck } from "./system/reexec.ts";
import { catchSignals, release, type SignalPipe, withoutHold } from "./system/signals.ts";
import { firstWorkerFd, rlimitNofile, spawnWorker } from "./system/spawner.ts";
import { readCrash, Survival } from "./system/survival.ts";
import { version } from "./version.ts";

/** What one image leaves for the next beside the core's state. Descriptors in it are inherited. */
interface Shell {
  /** The command line of the first start: options are read from it again by every image. */
  argv: readonly string[];
  /** What the options said last time, to see which of them changed. */
  configured: Config;
  cwd: string;
  listeners: readonly Listener[];
  http: { listener: Listener; connections: HandedOver[] } | null;
  control: ControlState;
  files: MasterFiles;
  signals: SignalPipe;
  nofile: { soft: number; hard: number } | null;
  log: string;
  execMs: Millis;
  /** When it crashed, as far as that still counts. */
  crashes: readonly Millis[];
}

const stopSignals: ReadonlySet<Signal> = new Set(["SIGTERM", "SIGINT", "SIGUSR2", "SIGQUIT"]);

type Exit = (code: number) => never;

/** First start: everything is opened before the first worker is started, and nothing is left behind when something fails. */
export async function startMaster(
  options: Options,
  { argv, exit }: { argv: readonly string[]; exit: Exit },
): Promise<void> {
  const cwd = logicalCwd();
  const launch = readLaunch(options, cwd);
  const listeners = await openListeners(options.binds, options.config.backlog);
  let files: MasterFiles;
  let http: Listener | null = null;
  try {
    http = await openHttp(options);
    files = await placeFiles({ ...options, env: process.env });
  } catch (error) {
    closeListeners(http === null ? listeners : [...listeners, http]);
    throw error;
  }
  if (options.masterNice !== null) setNice(options.masterNice);
  if (process.pid !== 1) native.becomeSubreaper();
  const master = new Master(options, exit, {
    argv,
    configured: options.config,
    cwd,
    listeners,
    http: http === null ? null : { listener: http, connections: [] },
    control: { listener: files.socketFd, nextId: 1, connections: [] },
    files,
    signals: null,
    nofile: originalNofile(),
    log: "",
    crashes: [],
  });
  const seed = (process.pid * 2654435761 + Date.now()) >>> 0 || 1;
  master.run(initialState(options.config, master.about(), launch, seed), {
    kind: "booted",
    about: master.about(),
    launch,
  });
}

/** Takes over from the image before; what happened meanwhile is found in the descriptors and by reaping. */
export async function resumeMaster(stateFd: number, { exit }: { exit: Exit }): Promise<void> {
  const crash = readCrash(stateFd);
  const document = crash === null ? readDocument(stateFd) : documentFrom(crash.parts);
  closeSync(stateFd);
  const { options, shell, state } = await readHandover(document);
  const listeners = await rebind(shell.listeners, options);
  const http = await rebindHttp(shell, options);
  const launch = readLaunch(options, shell.cwd);
  const config = mergeReconfigured(shell.configured, options.config, state.config);
  const crashes = [...(shell.crashes ?? []), ...(crash === null ? [] : [now()])];
  const recent = crashes.filter((at) => at > now() - crashWindowMs);
  const master = new Master(options, exit, { ...shell, listeners, http, configured: options.config, crashes: recent });
  process.env = withoutHold(process.env as Record<string, string>);
  master.closeStrangers(crash !== null);
  if (crash !== null) {
    return master.runOrCrash({ ...state, config }, master.crashed(state, crash.note), pendingIn(crash.parts));
  }
  master.runOrCrash({ ...state, config }, { kind: "reexeced", execMs: shell.execMs, about: master.about(), launch });
}

/** The proof before a re-exec: everything that taking over needs and that can be tried without harm. Throws a UserError. */
export async function checkMaster(stateFd: number): Promise<string> {
  const { options, shell } = await readHandover(readDocument(stateFd));
  readLaunch(options, shell.cwd);
  native.poll({ fd: stateFd, events: 1 }); // The addon loads.
  return checkPassed;
}

async function readHandover(document: unknown): Promise<{ options: Options; shell: Shell; state: State }> {
  const { shell } = document as { shell: Shell };
  const invocation = await readInvocation({ argv: shell.argv, env: process.env, cwd: shell.cwd });
  if (invocation.kind !== "run")
    throw new UserError("EINHORN_BAD_STATE", "the state document has no usable command line");
  const { options } = invocation;
  return { options, shell, state: decodeState(document, options.config) };
}

class Master {
  readonly #options: Options;
  readonly #exit: Exit;
  readonly #shell: Omit<Shell, "signals" | "execMs"> & { signals: SignalPipe | null };
  readonly #log: Log;
  readonly #alarm: Alarm;
  readonly #control: CommandServer;
  #http: HttpServer | null = null;
  #supervisor!: Supervisor;
  #signals!: SignalPipe;
  #check: Check | null = null;
  #oomKills: number | null = null;
  #keeper!: Keeper;
  /** Connections that were accepted and not written down when the master crashed. */
  readonly #strays: number[] = [];
  #survival: Survival | null = null;

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
    this.#alarm = new Alarm(() => this.#deliver({ kind: "woke" }));
    this.#control = this.#createControl();
  }

  /** Everything is open: from here on failure is an event, not an exception. */
  run(state: State, first: Event, heard: readonly Event[] = []): void {
    this.#supervisor = supervise(state, this.#ports());
    this.#signals = catchSignals((signal) => this.#signalled(signal), this.#shell.signals ?? undefined);
    this.#survive(state);
    this.#oomKills = oomKills();
    for (const note of this.#shell.files.notes) this.#log.info(note);
    if (first.kind === "booted") {
      for (const { text, address } of this.#shell.listeners) this.#log.info(`Listening on ${address}`, { bind: text });
    }
    this.#deliver(first);
    for (const event of heard) this.#deliver(event);
    release();
    // Who died between the two images left no signal that anybody saw.
    this.#reap();
    for (const fd of this.#strays) this.#control.adoptStray(fd);
    this.#control.start();
    this.#startHttp();
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
      preload: options.preload === null ? null : { path: options.preload, active: false, reason: "not supported yet" },
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
    this.#keeper = new Keeper(state, {
      // Its connections come and go without being written down: they end with the image.
      shell: () => this.#document(state, []).shell,
      connectionChanges: () => this.#control.takeChanges(),
    });
    try {
      this.#survival = new Survival({
        options: this.#options,
        changes: () => this.#keeper.changes(),
        everything: () => this.#keeper.everything(),
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
    const recent = this.#shell.crashes.length;
    if (recent > crashLimit + 3) this.#surrender(known);
    const tookMs = note.at === null ? "" : ` (after ${Math.round(now() - note.at)}ms)`;
    return {
      kind: "crashed",
      reason: `${note.reason}${tookMs}`,
      recent,
      about: this.about(),
      lost: [...known].filter((pid) => !children.has(pid)),
      found: workersAmong(strangers),
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
      files.socketFd,
      files.lockFd,
      signals?.read,
      signals?.write,
    ]);
    for (const name of readdirSync("/proc/self/fd")) {
      const fd = Number(name);
      // What Node itself opened is close-on-exec; only what came through execve is not.
      if (fd <= 2 || known.has(fd) || !isInheritable(fd)) continue;
      if (afterCrash && isConnectionOf(fd, files.socketPath)) this.#strays.push(fd);
      else closeSync(fd);
    }
  }

  #deliver(event: Event): void {
    this.#supervisor.deliver(event);
  }

  /** What is said only once: a crash on the way does not lose it. */
  #deliverSurely(event: Event): void {
    this.#keeper.expect(event);
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
        this.#keeper.set(state);
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

  #spawn(order: Parameters<Ports["processes"]["spawn"]>[0]): Pid {
    const { pid, connection } = spawnWorker(order, {
      options: this.#options,
      listeners: this.#shell.listeners,
      socketPath: this.#shell.files.socketPath,
      notifySocket: null,
      nofile: this.#shell.nofile,
    });
    if (connection !== null) this.#control.adopt({ fd: connection, pid, uid: process.geteuid?.() ?? 0 });
    return pid;
  }

  #signal(pid: Pid, signal: Signal | "graceful"): Signal {
    const sent = signal === "graceful" ? this.#gracefulSignal(pid) : signal;
    kill(pid, sent);
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
    const { exits, childless, more } = reap();
    let orphans = 0;
    const workers = new Set(this.#supervisor.state().workers.map(({ pid }) => pid));
    for (const exit of exits) {
      if (exit.pid === this.#check?.pid) this.#endCheck(exit.code, exit.signal);
      else if (!workers.has(exit.pid)) orphans += 1;
      else
        this.#deliver({
          kind: "exited",
          ...exit,
          oom: exit.signal === "SIGKILL" && this.#wasOutOfMemory(),
          lastWords: null,
        });
    }
    if (orphans > 0) this.#deliver({ kind: "orphans-reaped", count: orphans });
    if (more) setImmediate(() => this.#reap());
    else if (childless && this.#supervisor.state().mode.kind === "sweeping") this.#deliver({ kind: "childless" });
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
      files: { ...this.#shell.files, notes: [] },
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
      authority: createAuthority({
        uid: process.geteuid?.() ?? 0,
        isWorker: (pid) => this.#supervisor.state().workers.some((worker) => worker.pid === pid),
      }),
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
      const queue = acceptQueue(native, fds[0] as number, family);
      return queue === null ? [] : [{ text, address, ...queue }];
    });
  }

  #announce(state: string): void {
    const socket = process.env.NOTIFY_SOCKET;
    if (socket) notifyParent(native, socket, state as Announcement, now(), (message) => this.#log.debug(message));
  }

  #leave(code: number): void {
    this.#http?.close();
    this.#control.close();
    const { listeners, http, files } = this.#shell;
    closeListeners(http === null ? listeners : [...listeners, http.listener]);
    removeFiles(files);
    this.#exit(code);
  }
}

/** What workers are started from: where the code is now, even if it is reached over a link that moves with a release. */
function readLaunch(options: Options, cwd: string): Launch {
  const { chdir, envFile } = options.worker;
  const folder = chdir ?? cwd;
  let real: string;
  try {
    real = realpathSync(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UserError(
      "EINHORN_NO_DIRECTORY",
      `The working directory ${folder} cannot be entered: ${code}. Create it, or name another with --chdir.`,
    );
  }
  const env = withoutHold(process.env as Record<string, string>);
  for (const name of options.dropEnvVars) delete env[name];
  return { argv: options.program, cwd: real, env: envFile === null ? env : { ...env, ...readEnvFile(envFile) } };
}

/** The working directory by the name that the shell gave it, links unresolved, so that an upgrade finds where they lead by then. */
function logicalCwd(): string {
  const cwd = process.cwd();
  const { PWD } = process.env;
  try {
    return PWD?.startsWith("/") && realpathSync(PWD) === cwd ? PWD : cwd;
  } catch {
    return cwd;
  }
}

/** Keeps what is bound, opens what the options name anew, closes what they no longer name. */
async function rebind(listeners: readonly Listener[], options: Options): Promise<Listener[]> {
  const wanted = new Set(options.binds.map(({ text }) => text));
  const open: Listener[] = [];
  for (const bind of options.binds) {
    open.push(listeners.find(({ text }) => text === bind.text) ?? (await openListener(bind, options.config.backlog)));
  }
  closeListeners(listeners.filter(({ text }) => !wanted.has(text)));
  return open;
}

async function rebindHttp(shell: Shell, options: Options): Promise<Shell["http"]> {
  const text = httpText(options);
  if (shell.http !== null && shell.http.listener.text === text) return shell.http;
  if (shell.http !== null) closeListeners([shell.http.listener]);
  const listener = await openHttp(options);
  return listener === null ? null : { listener, connections: [] };
}

function httpText(options: Options): string | null {
  if (options.http === null) return null;
  return "path" in options.http ? `unix:${options.http.path}` : `${options.http.host}:${options.http.port}`;
}

async function openHttp(options: Options): Promise<Listener | null> {
  const text = httpText(options);
  if (options.http === null || text === null) return null;
  const target =
    "path" in options.http
      ? { kind: "unix" as const, path: options.http.path }
      : { kind: "tcp" as const, ...options.http };
  const plain = {
    queues: null,
    v6Only: null,
    backlog: null,
    noDelay: false,
    deferAcceptS: null,
    fastOpen: null,
    freeBind: false,
  };
  return openListener(
    { ...plain, text, target, reuseAddress: true, nonBlocking: true, mode: null, owner: null, name: null },
    options.config.backlog,
  );
}

/** Parent and child had the same limits unless Node raised ours; where the parent cannot be read, what we have is what we know. */
function originalNofile(): { soft: number; hard: number } | null {
  const ours = native.getResourceLimit({ resource: rlimitNofile });
  try {
    const line = /^Max open files\s+(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${process.ppid}/limits`, "utf8"));
    if (line === null || Number(line[2]) !== ours.hard) return null;
    return { soft: Number(line[1]), hard: ours.hard };
  } catch {
    return null;
  }
}

function setNice(nice: number): void {
  try {
    native.setPriority({ pid: 0, nice });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UserError(
      "EINHORN_NICE",
      `--nice: the priority cannot be set to ${nice}: ${code}. Lower numbers need root or CAP_SYS_NICE.`,
    );
  }
}

function kill(pid: Pid, signal: Signal): void {
  try {
    process.kill(pid, signalNumber(signal) ?? 15);
  } catch {
    // It is gone, which its exit tells; or it is another user's by now, which nothing here can change.
  }
}

/** Accepted from the command socket: it has the listener's name. */
function isConnectionOf(fd: number, socketPath: string): boolean {
  try {
    const name = Buffer.from(native.getSocketName({ fd }));
    const path = socketPath.startsWith("@") ? `\0${socketPath.slice(1)}` : `${socketPath}\0`;
    return name.readUInt16LE(0) === 1 && name.subarray(2).toString().startsWith(path);
  } catch {
    return false;
  }
}

function isInheritable(fd: number): boolean {
  try {
    return native.isInheritable({ fd });
  } catch {
    return false;
  }
}
