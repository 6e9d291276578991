/**
 * A second world for the master: a fake kernel, fake clock and fake clients, driven by a seed. The real supervisor and
 * the real core run in it; only what lies behind `Ports` is made up. Every choice of order is the seed's.
 */
import type { Asker, Config, Effect, Event, Launch, Millis, Pid, Signal, State } from "../../src/core/model.ts";
import type { Ports } from "../../src/ports.ts";
import type { Supervisor } from "../../src/supervisor.ts";
import { Checks } from "./checks.ts";
import { Chance } from "./random.ts";

/** The code under test: the real one, or a copy broken on purpose (mutations.test.ts). */
export interface Code {
  supervise(initial: State, ports: Ports): Supervisor;
  initialState: typeof import("../../src/core/initial.ts").initialState;
  encodeState: typeof import("../../src/core/handover.ts").encodeState;
  decodeState: typeof import("../../src/core/handover.ts").decodeState;
  changesBetween: typeof import("../../src/core/changes.ts").changesBetween;
  documentOf: typeof import("../../src/core/changes.ts").documentOf;
  readCommand: typeof import("../../src/core/commands.ts").readCommand;
}

type SpawnEffect = Extract<Effect, { kind: "spawn" }>;

/** How the code of one generation behaves; `Launch.env.RELEASE` carries it. */
export const releases = [
  "good",
  "slow",
  "dies-at-start",
  "never-acks",
  "acks-then-dies",
  "dies-later",
  "missing",
  "flaky",
] as const;
export type Release = (typeof releases)[number];

export interface Process {
  pid: Pid;
  id: number;
  slot: number;
  generation: number;
  release: Release;
  bornAt: Millis;
  /** When it will ACK or end by itself; null is never. */
  ackAt: Millis | null;
  endAt: Millis | null;
  endsWith: { code: number | null; signal: Signal | null };
  deaf: boolean;
  acked: boolean;
  /** Signals that the master sent, in order. */
  got: Signal[];
  told: boolean;
}

/** Unwinds the old master: execve does not return. */
class Replaced {
  readonly next: State;
  readonly at: Millis;
  constructor(next: State, at: Millis) {
    this.next = next;
    this.at = at;
  }
}

/** Unwinds the master in the middle of a turn, as SIGSEGV or kill -9 would end it. */
class Crashed {}

const baseConfig: Config = {
  number: 4,
  ackMode: { kind: "manual" },
  respawnMs: 1000,
  backlog: 100,
  maxUnacked: null,
  cpus: 2,
  maxUpgradeAdditional: null,
  signalTimeoutMs: null,
  ackTimeoutMs: null,
  gracefulSignal: "auto",
  drainDelayMs: 0,
  gracePeriodMs: null,
  readyMin: { kind: "percent", percent: 100 },
  upgradeTimeoutMs: null,
  upgradeMaxDeaths: 3,
  giveUpAfter: null,
  respawn: true,
  maxRssBytes: null,
  maxAgeMs: null,
  watchdogMs: null,
  verbosity: "info",
};

export class World {
  readonly chance: Chance;
  readonly checks: Checks;
  readonly trace: string[] = [];
  readonly processes = new Map<Pid, Process>();
  /** Ended, not yet reaped: what waitpid would give, in any order the kernel likes. */
  readonly zombies: Process[] = [];
  readonly config: Config;
  now: Millis = 1000;
  exited: number | null = null;
  stopRequests = 0;
  /** The release that the next started image finds on disk. */
  onDisk: Release = "good";
  checkFails = false;
  execFails = false;
  #alarm: Millis | null = null;
  #checkEndsAt: Millis | null = null;
  #checkPending = false;
  #supervisor: Supervisor;
  #nextPid = 100;
  #nextConnection = 1;
  #connections: number[] = [];
  #calm = false;
  #swept = false;
  readonly #code: Code;
  readonly #traced: boolean;
  readonly #ports: Ports;
  readonly #isPid1: boolean;
  /** Workers are forked by a zygote: the answer to an order comes later, by worker id. */
  readonly births = new Map<number, { order: SpawnEffect; at: Millis }>();
  /** Its failure is being told: lost, when the master crashes over it. */
  #unborn: { order: SpawnEffect; at: Millis }[] = [];
  readonly #preloads: boolean;
  /** One call of a port in so many is the master's last; null: it does not crash. */
  readonly #crashOneIn: number | null;
  /** What the file in memory holds: nothing but this outlives a crash. */
  readonly #parts = new Map<string, unknown>();
  #saved: State | null = null;
  #crashedAt: Millis[] = [];
  /** What the turn under way did to the world: nobody will remember it if the turn does not end. */
  #turn: { told: Process[]; sure: Event[]; replied: number[] } = { told: [], sure: [], replied: [] };

  /** Only a traced world says what happens: the words cost a third of a run. */
  constructor(code: Code, seed: number, traced = false) {
    this.#traced = traced;
    this.#code = code;
    this.chance = new Chance(seed);
    this.config = this.#randomConfig();
    this.#isPid1 = this.chance.oneIn(2);
    this.#preloads = this.chance.oneIn(3);
    this.#crashOneIn = this.chance.oneIn(2) ? this.chance.pick([20, 60, 200]) : null;
    this.checks = new Checks(this);
    this.#ports = this.#makePorts();
    const initial = code.initialState(this.config, this.#about(), this.#launch(), seed || 1);
    this.#supervisor = code.supervise(initial, this.#ports);
    this.#save(initial);
    this.note(() => `config ${JSON.stringify(this.config)} pid1=${this.#isPid1} preload=${this.#preloads}`);
    this.deliver({ kind: "booted", about: this.#about(), launch: this.#launch() });
  }

  get state(): State {
    return this.#supervisor.state();
  }

  get alarm(): Millis | null {
    return this.#alarm;
  }

  note(line: string | (() => string)): void {
    if (!this.#traced) return;
    this.trace.push(`${this.now.toFixed(0).padStart(8)} ${typeof line === "string" ? line : line()}`);
  }

  /** Events in disorder, then calm: everything behaves, and the pool must settle by its own alarms alone. */
  run(steps: number): void {
    for (let step = 0; step < steps && this.exited === null; step += 1) this.#disturb();
    this.#settle();
    this.checks.settled();
  }

  deliver(event: Event): void {
    if (this.exited !== null) return;
    if (event.kind !== "woke") this.note(() => `event ${JSON.stringify(event).slice(0, 160)}`);
    try {
      this.#supervisor.deliver(event);
    } catch (error) {
      if (error instanceof Replaced) this.#takeOver(error);
      else if (error instanceof Crashed) this.#recover();
      else throw error;
    }
    this.#cancelBirths();
    this.checks.afterStep();
    if (this.#swept) this.#noticeChildless();
  }

  /** Written down before it is handled, and again for the image after a crash. */
  #deliverSurely(event: Event): void {
    this.#turn.sure.push(event);
    this.deliver(event);
  }

  /** The next image: it starts from the document alone, and what happened meanwhile reaches it late. */
  #takeOver({ next, at }: Replaced): void {
    this.#alarm = null;
    this.now += 30 + this.chance.below(60);
    this.#supervisor = this.#code.supervise(next, this.#ports);
    this.note(`--- re-executed, release on disk: ${this.onDisk}`);
    this.deliver({ kind: "reexeced", execMs: at, about: this.#about(), launch: this.#launch() });
  }

  /** The next image after a crash: it has the file, its children and its connections. */
  #recover(): void {
    const saved = this.#saved as State;
    const text = JSON.stringify(this.#code.documentOf(this.#parts));
    const state = this.#code.decodeState(JSON.parse(text), this.config);
    this.checks.sameState(saved, state);
    this.checks.crashed(state, this.#turn.replied);
    for (const process of this.#turn.told) process.told = false;
    // The zygote's answers to orders that nobody remembers are of no use to the next image.
    for (const { order } of [...this.births.values(), ...this.#unborn]) this.checks.neverBorn(order);
    this.births.clear();
    const sure = this.#turn.sure.splice(0);
    this.#alarm = null;
    this.#checkPending = false;
    this.#checkEndsAt = null;
    this.now += 30 + this.chance.below(60);
    this.#crashedAt.push(this.now);
    this.note("--- crashed");
    this.#supervisor = this.#code.supervise(state, this.#ports);
    this.#save(state);
    const known = new Set(state.workers.flatMap(({ pid }) => pid ?? []));
    const children = new Set([...this.processes.keys(), ...this.zombies.map(({ pid }) => pid)]);
    for (const worker of state.workers) if (!children.has(worker.pid ?? -1)) this.checks.lost(worker);
    this.deliver({
      kind: "crashed",
      reason: "simulated",
      recent: this.#recentCrashes(),
      about: this.#about(),
      lost: [...known].filter((pid) => !children.has(pid)),
      found: [...this.processes.values()].filter(({ pid }) => !known.has(pid)),
      connections: this.#connections,
    });
    for (const event of sure) this.#deliverSurely(event);
  }

  #recentCrashes(): number {
    return this.#crashedAt.filter((at) => at > this.now - 60_000).length;
  }

  /** Five within a minute would end the master; that has its own seeds. */
  #maybeCrash(): void {
    if (this.#crashOneIn === null || this.#calm || this.exited !== null || this.state.mode.kind === "gone") return;
    if (this.#recentCrashes() >= 4 && !this.chance.oneIn(40)) return;
    if (this.chance.oneIn(this.#crashOneIn)) throw new Crashed();
  }

  #save(state: State): void {
    for (const [name, ...values] of this.#code.changesBetween(this.#saved, state)) {
      if (values.length === 0) this.#parts.delete(name);
      else this.#parts.set(name, values[0]);
    }
    this.#saved = state;
    this.checks.saved();
    this.#turn = { told: [], sure: [], replied: [] };
  }

  /** Ended by itself because it crashed too often. */
  get surrendered(): boolean {
    return this.#crashedAt.length >= 5;
  }

  #disturb(): void {
    const roll = this.chance.below(100);
    if (roll < 40) this.#advance();
    else if (roll < 60) this.#reapOne();
    else if (roll < 66) this.#killOne();
    else if (roll < 90) this.#command();
    else if (roll < 94) this.#signalMaster();
    else if (roll < 96) this.onDisk = this.chance.pick(releases);
    else if (roll < 97) this.checkFails = this.chance.oneIn(2);
    else if (roll < 98) this.execFails = this.chance.oneIn(2);
    else if (roll < 99) this.#hangUp();
    else this.deliver({ kind: "woke" });
  }

  /** To the next thing that is due, or a little way. */
  #advance(): void {
    const due = this.#nextDue();
    const target = due === null || this.chance.oneIn(3) ? this.now + 1 + this.chance.below(400) : due;
    this.now = Math.max(this.now, due === null ? target : Math.min(target, due));
    this.#happen();
  }

  #nextDue(): Millis | null {
    const times = [this.#alarm, this.#checkEndsAt];
    for (const { at } of this.births.values()) times.push(at);
    for (const process of this.processes.values()) times.push(process.ackAt, process.endAt);
    return times.reduce<Millis | null>(
      (least, at) => (at !== null && (least === null || at < least) ? at : least),
      null,
    );
  }

  /** Whatever is due now happens, in the order that chance likes. */
  #happen(): void {
    const acts: (() => void)[] = [];
    if (this.#alarm !== null && this.#alarm <= this.now) acts.push(() => this.#ring());
    if (this.#checkEndsAt !== null && this.#checkEndsAt <= this.now) acts.push(() => this.#endCheck());
    for (const [id, { at }] of this.births) if (at <= this.now) acts.push(() => this.#bear(id));
    for (const process of this.processes.values()) {
      if (process.endAt !== null && process.endAt <= this.now) acts.push(() => this.end(process, process.endsWith));
      else if (process.ackAt !== null && process.ackAt <= this.now) acts.push(() => this.#ack(process));
    }
    while (acts.length > 0) acts.splice(this.chance.below(acts.length), 1)[0]?.();
  }

  /** Workers that were told to go, ignore it, and that nothing will kill. */
  hasDeafWorkers(): boolean {
    return [...this.processes.values()].some((process) => process.deaf && process.told);
  }

  #ring(): void {
    if (this.#alarm === null || this.#alarm > this.now) return;
    this.#alarm = null;
    this.deliver({ kind: "woke" });
  }

  #ack(process: Process): void {
    if (process.ackAt === null || !this.processes.has(process.pid)) return;
    process.ackAt = this.chance.oneIn(20) ? this.now + 10 : null; // Now and then it ACKs twice.
    if (this.config.ackMode.kind === "timer") return;
    if (!process.told) process.acked = true;
    this.#deliverSurely({
      kind: "acked",
      pid: process.pid,
      via: this.config.ackMode.kind === "notify" ? "notify" : "command",
    });
  }

  end(process: Process, how: { code: number | null; signal: Signal | null }): void {
    if (!this.processes.delete(process.pid)) return;
    this.note(() => `process ${process.pid} ends ${JSON.stringify(how)}`);
    process.endsWith = how;
    this.zombies.push(process);
    if (this.chance.oneIn(2)) this.#reapOne();
  }

  #reapOne(): void {
    if (this.zombies.length === 0) return;
    const [process] = this.zombies.splice(this.chance.below(this.zombies.length), 1);
    if (process === undefined) return;
    this.checks.buried(process);
    const { code, signal } = process.endsWith;
    this.deliver({
      kind: "exited",
      pid: process.pid,
      code,
      signal,
      oom: false,
      cpuMs: 1,
      maxRssBytes: 1,
      lastWords: null,
    });
    this.#noticeChildless();
  }

  #noticeChildless(): void {
    if (this.processes.size > 0 || this.zombies.length > 0 || this.exited !== null) return;
    this.#swept = false;
    this.deliver({ kind: "childless" });
  }

  #killOne(): void {
    if (this.processes.size === 0) return;
    this.end(this.chance.pick([...this.processes.values()]), { code: null, signal: "SIGKILL" });
  }

  #command(): void {
    if (this.#connections.length === 0 || this.chance.oneIn(4)) this.#connections.push(this.#nextConnection++);
    const asker: Asker = { connection: this.chance.pick(this.#connections), requestId: this.checks.nextRequest() };
    const n = String(1 + this.chance.below(6));
    const requests: [string, ...string[]][] = [
      ["upgrade"],
      ["upgrade"],
      ["upgrade_fleet"],
      ["upgrade", "--canary", "1", "--soak", "2"],
      ["reload"],
      ["abort"],
      ["pause"],
      ["resume"],
      ["resume"],
      ["inc"],
      ["dec"],
      ["set_workers", n],
      ["status"],
      ["state"],
      ["ready"],
      ["wait"],
      ["events"],
      ["signal", "USR1"],
      ["config", "{seconds: 2}"],
      ["quieter"],
      ["louder"],
    ];
    if (this.chance.oneIn(40)) requests.push(["die"]);
    const [command, ...args] = this.chance.pick(requests);
    const read = this.#code.readCommand({ command, args });
    if ("error" in read) throw new Error(`the simulator sent a bad command: ${read.error}`);
    this.checks.asked(asker, command);
    if (command === "die") this.stopRequests += 1;
    const crashes = this.#crashedAt.length;
    this.deliver({ kind: "asked", asker, command: read.command });
    // A command that a crash swallowed is not answered: who gave it knows that it may not have happened.
    if (command === "die" && this.#crashedAt.length > crashes) this.stopRequests -= 1;
  }

  #hangUp(): void {
    const connection = this.#connections.pop();
    if (connection === undefined) return;
    this.checks.hungUp(connection);
    this.deliver({ kind: "hung-up", connection });
  }

  #signalMaster(): void {
    const signal = this.chance.pick(["SIGHUP", "SIGHUP", "SIGHUP", "SIGUSR1", "SIGWINCH", "SIGTERM"]);
    if (signal === "SIGTERM") {
      if (!this.chance.oneIn(6)) return;
      this.stopRequests += 1;
      return this.#deliverSurely({ kind: "signal", signal });
    }
    this.deliver({ kind: "signal", signal });
  }

  #settle(): void {
    this.note("--- calm");
    this.#calm = true;
    this.checkFails = false;
    this.execFails = false;
    if (this.state.mode.kind === "upgrading" && this.state.mode.upgrade.paused) {
      this.#connections.push(this.#nextConnection);
      const asker = { connection: this.#nextConnection++, requestId: this.checks.nextRequest() };
      this.checks.asked(asker, "resume");
      this.deliver({ kind: "asked", asker, command: { name: "resume" } });
    }
    // Longer than every timeout of the configuration; a pool that fails for ever goes on for ever.
    const until = this.now + 150_000;
    while (this.now < until && this.exited === null) {
      while (this.zombies.length > 0 && this.exited === null) this.#reapOne();
      const due = this.#nextDue();
      if (due === null || this.checks.isSettled()) return;
      this.now = Math.max(this.now, due);
      this.#happen();
    }
  }

  #endCheck(): void {
    if (!this.#checkPending) return;
    this.#checkPending = false;
    this.#checkEndsAt = null;
    this.deliver({ kind: "checked", reason: this.checkFails ? "simulated: the new einhorn is broken" : null });
  }

  #makePorts(): Ports {
    return {
      clock: {
        now: () => this.now,
        wakeAt: (at) => {
          this.#alarm = at;
        },
      },
      processes: {
        spawn: (order) => {
          this.#maybeCrash();
          const pid = this.#spawn(order);
          this.#maybeCrash();
          return pid;
        },
        signal: (pid, signal) => {
          this.#maybeCrash();
          const sent = this.#signal(pid, signal);
          this.#maybeCrash();
          return sent;
        },
        signalRest: () => {
          this.#swept = true;
        },
        measure: () => ({}),
      },
      reexec: {
        check: () => {
          this.#checkPending = true;
          // One in ten hangs until the core gives up.
          this.#checkEndsAt =
            !this.#calm && this.chance.oneIn(10) ? this.now + 60_000 : this.now + 20 + this.chance.below(100);
        },
        endCheck: () => {
          if (!this.#checkPending) return;
          this.checkFails = true;
          this.#checkEndsAt = this.now;
        },
        exec: (state) => {
          if (this.execFails) return "simulated: execve failed";
          throw new Replaced(this.roundTrip(state), this.now);
        },
      },
      save: (state) => {
        this.#maybeCrash();
        this.#save(state);
        this.#maybeCrash();
      },
      control: {
        reply: (asker, reply) => {
          this.checks.replied(asker, reply);
          if (!reply.wait) this.#turn.replied.push(Number(asker.requestId));
        },
      },
      log: (entry) => {
        this.note(() => `log ${entry.level} ${entry.message}`);
        this.#maybeCrash();
      },
      announce: () => undefined,
      exit: (code) => {
        this.note(`exit ${code}`);
        this.checks.exiting();
        this.exited = code;
      },
    };
  }

  /** Through the document, as a re-exec does; nothing may change on the way. */
  roundTrip(state: State): State {
    const text = JSON.stringify(this.#code.encodeState(state));
    const next = this.#code.decodeState(JSON.parse(text), this.config);
    this.checks.sameState(state, next);
    return next;
  }

  #spawn(order: SpawnEffect): Pid | null {
    this.checks.spawning(order);
    if (!this.#preloads) return this.#start(order);
    // Now and then the zygote has to load first.
    this.births.set(order.id, { order, at: this.now + this.chance.below(this.chance.oneIn(10) ? 5000 : 20) });
    return null;
  }

  #bear(id: number): void {
    const birth = this.births.get(id);
    if (!this.births.delete(id) || birth === undefined) return;
    if (!this.#calm && this.chance.oneIn(10)) {
      this.#unborn = [birth];
      this.deliver({ kind: "unspawned", id, errno: "EAGAIN", syscall: "fork" });
      this.#unborn = [];
      return;
    }
    try {
      this.deliver({ kind: "spawned", id, pid: this.#start(birth.order) });
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
      this.deliver({ kind: "unspawned", id, errno: "ENOENT", syscall: "execve" });
    }
  }

  /** The zygote of a generation that is over is killed: its forks are called off, or were faster. */
  #cancelBirths(): void {
    const { mode, launches } = this.state;
    const isStopping = mode.kind !== "running" && mode.kind !== "upgrading";
    for (const [id, birth] of this.births) {
      if (!isStopping && birth.order.generation in launches) continue;
      if (birth.at > this.now) birth.at = this.now + this.chance.below(2);
      if (!this.births.has(id) || this.chance.oneIn(2)) continue;
      this.births.delete(id);
      this.deliver({ kind: "unspawned", id, errno: "ECANCELED", syscall: "fork" });
    }
  }

  #start(order: SpawnEffect): Pid {
    const release = (order.launch.env.RELEASE ?? "good") as Release;
    if (release === "missing" && !(this.#calm && order.generation === 0)) {
      throw Object.assign(new Error("execve: ENOENT"), { code: "ENOENT", syscall: "execve" });
    }
    const pid = this.#nextPid++;
    this.processes.set(pid, this.#newProcess(pid, order, release));
    this.note(`spawn pid=${pid} slot=${order.slot} gen=${order.generation} ${release}`);
    return pid;
  }

  #newProcess(pid: Pid, order: SpawnEffect, release: Release): Process {
    const bootMs = release === "slow" ? 500 + this.chance.below(3000) : this.chance.below(300);
    const process: Process = {
      pid,
      id: order.id,
      slot: order.slot,
      generation: order.generation,
      release,
      bornAt: this.now,
      ackAt: this.now + bootMs,
      endAt: null,
      endsWith: { code: 1, signal: null },
      deaf: !this.#calm && this.chance.oneIn(30),
      acked: false,
      got: [],
      told: false,
    };
    if (release === "dies-at-start")
      Object.assign(process, { ackAt: null, endAt: this.now + 1 + this.chance.below(50) });
    if (release === "never-acks") process.ackAt = null;
    if (release === "acks-then-dies") process.endAt = this.now + bootMs + 1 + this.chance.below(20);
    if (release === "dies-later") process.endAt = this.now + bootMs + 1 + this.chance.below(900);
    if (release === "flaky" && this.chance.oneIn(2) && !this.#calm) process.endAt = this.now + this.chance.below(3000);
    return process;
  }

  #signal(pid: Pid, signal: Signal | "graceful"): Signal {
    const process = this.processes.get(pid);
    const sent = signal === "graceful" ? "SIGUSR2" : signal;
    if (process === undefined) {
      // kill(2) on a zombie succeeds and changes nothing.
      const zombie = this.zombies.find((other) => other.pid === pid);
      if (zombie !== undefined && sent !== "SIGUSR1" && sent !== "SIGWINCH") zombie.told = true;
      return sent;
    }
    process.got.push(sent);
    this.note(`signal ${sent} to ${pid}`);
    if (sent === "SIGUSR1" || sent === "SIGWINCH") return sent;
    this.checks.telling(process, sent);
    if (!process.told) this.#turn.told.push(process);
    process.told = true;
    if (sent === "SIGKILL") process.endAt = this.now + this.chance.below(5);
    else if (!process.deaf) process.endAt = this.now + this.chance.below(this.chance.oneIn(5) ? 20_000 : 200);
    process.endsWith = sent === "SIGKILL" ? { code: null, signal: "SIGKILL" } : { code: 0, signal: null };
    return sent;
  }

  #launch(): Launch {
    return { argv: ["server"], cwd: "/", env: { RELEASE: this.onDisk } };
  }

  #about() {
    return {
      pid: 1,
      version: "test",
      commandName: null,
      socketPath: "/run/einhorn.sock",
      argv: ["server"],
      binds: [],
      isPid1: this.#isPid1,
      preload: null,
    };
  }

  #randomConfig(): Config {
    const { chance } = this;
    const config = { ...baseConfig, number: 1 + chance.below(6) };
    config.ackMode = chance.pick<Config["ackMode"]>([
      { kind: "timer", ms: 0 },
      { kind: "timer", ms: 1000 },
      { kind: "manual" },
      { kind: "manual" },
      { kind: "notify" },
    ]);
    if (chance.oneIn(3)) config.maxUnacked = 1 + chance.below(4);
    if (chance.oneIn(4)) config.maxUpgradeAdditional = 1 + chance.below(3);
    if (chance.oneIn(3)) config.signalTimeoutMs = 2000;
    if (chance.oneIn(3)) config.ackTimeoutMs = 4000;
    if (chance.oneIn(4)) config.upgradeTimeoutMs = 20_000;
    if (chance.oneIn(3)) config.drainDelayMs = 500;
    if (chance.oneIn(3)) config.gracePeriodMs = 8000;
    if (chance.oneIn(5)) config.maxAgeMs = 60_000;
    return config;
  }
}
