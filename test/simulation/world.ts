/**
 * A second world for the master: a fake kernel, fake clock and fake clients, driven by a seed. The real supervisor, the
 * real core and the real journal run in it; only what lies behind `Ports` is made up. Every choice of order is the seed's.
 */
import type { About, Config, Event, Launch, Millis, Signal, State } from "../../src/core/model.ts";
import type { Ports } from "../../src/ports.ts";
import type { Supervisor } from "../../src/supervisor.ts";
import { Checks } from "./checks.ts";
import { Clients } from "./clients.ts";
import { randomConfig } from "./configs.ts";
import { Kernel, type Process, type Release, releases } from "./kernel.ts";
import { Kept } from "./memory.ts";
import { Chance } from "./random.ts";
import { Tally } from "./tally.ts";

/** The code under test: the real one, or a copy broken on purpose (mutations.test.ts). */
export interface Code {
  supervise(initial: State, ports: Ports): Supervisor;
  initialState: typeof import("../../src/core/initial.ts").initialState;
  encodeState: typeof import("../../src/core/handover.ts").encodeState;
  decodeState: typeof import("../../src/core/handover.ts").decodeState;
  readCommand: typeof import("../../src/core/commands.ts").readCommand;
  Keeper: typeof import("../../src/keeping.ts").Keeper;
  documentFrom: typeof import("../../src/keeping.ts").documentFrom;
  pendingIn: typeof import("../../src/keeping.ts").pendingIn;
  Journal: typeof import("../../src/system/journal.ts").Journal;
  readJournal: typeof import("../../src/system/journal.ts").readJournal;
}

export interface WorldSettings {
  /** Only a traced world says what happens: the words cost a third of a run. */
  traced?: boolean;
  /** Ends the master with kill -9 at this one of the places where it can end (`World.places`), and nowhere else. 0: nowhere at all. */
  killAt?: number;
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

export class World {
  readonly code: Code;
  readonly chance: Chance;
  readonly checks: Checks;
  readonly kernel: Kernel;
  readonly clients: Clients;
  readonly tally = new Tally();
  readonly trace: string[] = [];
  readonly config: Config;
  now: Millis = 1000;
  exited: number | null = null;
  /** Counts images: a re-exec and a crash begin the next. */
  image = 1;
  /** Places at which the master could have ended so far: before each step, around each call, within each write of its state. */
  places = 0;
  stopRequests = 0;
  /** What goes to all workers then may be the very signal of a stop. */
  isOperatorSignalling = false;
  /** A crash came over a request to stop: it may have been heard or not. */
  mayHaveStopped = false;
  quit = false;
  calm = false;
  /** What the image before heard has not all been handled by this one yet. */
  isCatchingUp = false;
  /** The release that the next started image finds on disk. */
  #onDisk: Release = "good";
  #checkFails = false;
  #execFails = false;
  #alarm: Millis | null = null;
  #check: { endsAt: Millis; reason: string | null } | null = null;
  #supervisor: Supervisor;
  #swept = false;
  readonly #traced: boolean;
  readonly #ports: Ports;
  readonly #isPid1: boolean;
  readonly #killAt: number | null;
  /** One place in so many is the master's last; null: it does not crash. */
  readonly #crashOneIn: number | null;
  /** The file in memory: nothing but this outlives a crash. Null in worlds without one. */
  #kept: Kept | null = null;
  #crashedAt: Millis[] = [];
  /** What the turn under way did to the world: nobody will remember it if the turn does not end. */
  #turn: { told: Process[]; replied: number[] } = { told: [], replied: [] };
  #stepsInTurn = 0;
  /** Said only once, and not handled yet; as text. */
  #sure = new Set<string>();
  /** The one among them that the turn under way is about. */
  #handling: string | null = null;

  constructor(code: Code, seed: number, { traced = false, killAt }: WorldSettings = {}) {
    this.code = code;
    this.#traced = traced;
    this.#killAt = killAt ?? null;
    this.chance = new Chance(seed);
    this.config = randomConfig(this.chance);
    this.#isPid1 = this.chance.oneIn(2);
    this.kernel = new Kernel(this);
    this.clients = new Clients(this);
    const crashes = this.chance.oneIn(2) ? this.chance.pick([40, 120, 400]) : null;
    this.#crashOneIn = killAt === undefined ? crashes : null;
    this.checks = new Checks(this);
    this.#ports = this.#makePorts();
    const initial = code.initialState(this.config, this.#about(), this.#launch(), seed || 1);
    this.#supervisor = code.supervise(initial, this.#ports);
    if (this.#crashOneIn !== null || killAt) this.#kept = new Kept(code, initial, []);
    this.note(() => `config ${JSON.stringify(this.config)} pid1=${this.#isPid1} preload=${this.kernel.preloads}`);
    this.deliver({ kind: "booted", about: this.#about(), launch: this.#launch() });
  }

  get state(): State {
    return this.#supervisor.state();
  }

  get alarm(): Millis | null {
    return this.#alarm;
  }

  /** Ended by itself because it crashed too often. */
  get surrendered(): boolean {
    return this.#crashedAt.length >= 5;
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
    this.tally.count(`event ${event.kind}`);
    if (event.kind !== "woke") this.note(() => `event ${JSON.stringify(event).slice(0, 160)}`);
    this.#stepsInTurn = 0;
    this.isOperatorSignalling = event.kind === "asked" && event.command.name === "signal";
    try {
      this.#supervisor.deliver(event);
    } catch (error) {
      if (error instanceof Replaced) this.#takeOver(error);
      else if (error instanceof Crashed) this.#recover();
      else throw error;
    }
    this.kernel.cancelBirths();
    this.checks.afterStep();
    if (this.#swept) this.noticeChildless();
  }

  /** Written down before it is handled, so that the image after a crash hears of it too. */
  deliverSurely(event: Event): void {
    if (this.exited !== null) return;
    if (this.#kept === null) return this.deliver(event);
    const { image } = this;
    const text = JSON.stringify(event);
    this.#sure.add(text);
    this.#handling = text;
    this.#kept.surely(event, () => this.deliver(event));
    if (this.image === image) this.#handled();
  }

  #handled(): void {
    if (this.#handling !== null) this.#sure.delete(this.#handling);
    this.#handling = null;
  }

  noticeChildless(): void {
    if (this.kernel.processes.size > 0 || this.kernel.zombies.length > 0 || this.exited !== null) return;
    this.#swept = false;
    this.deliver({ kind: "childless" });
  }

  /** A signal by which the master makes a worker go. */
  tell(process: Process, signal: Signal): void {
    this.checks.telling(process, signal);
    if (!process.told) this.#turn.told.push(process);
    process.told = true;
  }

  /** The next image: it starts from the document alone, and what happened meanwhile reaches it late. */
  #takeOver({ next, at }: Replaced): void {
    this.#beginImage(next, []);
    this.note(() => `--- re-executed, release on disk: ${this.#onDisk}`);
    this.deliver({ kind: "reexeced", execMs: at, about: this.#about(), launch: this.#launch() });
  }

  #beginImage(state: State, heard: readonly Event[]): void {
    this.image += 1;
    this.#sure = new Set(heard.map((event) => JSON.stringify(event)));
    this.#handling = null;
    this.isCatchingUp = heard.length > 0;
    this.#alarm = null;
    // Every image reaps once at its start, and sees whether there is a child at all.
    this.#swept = state.mode.kind === "sweeping";
    this.#turn = { told: [], replied: [] };
    this.now += 30 + this.chance.below(60);
    this.#supervisor = this.code.supervise(state, this.#ports);
    if (this.#kept !== null) this.#kept = new Kept(this.code, state, heard);
  }

  /** The next image after a crash: it has the file, its children and its connections. */
  #recover(): void {
    this.tally.count("crash");
    const kept = this.#kept as Kept;
    const { document, heard } = kept.read();
    const state = this.code.decodeState(document, this.config);
    this.checks.sameState(kept.state, state);
    this.checks.sameHeard(this.#sure, heard);
    this.checks.crashed(state, this.#turn.replied);
    for (const process of this.#turn.told) process.told = false;
    this.kernel.forgetBirths();
    this.#check = null;
    this.#crashedAt.push(this.now);
    this.note("--- crashed");
    this.#beginImage(state, heard);
    const { image } = this;
    this.#deliverCrash(state);
    for (const event of heard) {
      // The image after another crash has heard of it by itself.
      if (this.image !== image) return;
      this.deliverSurely(event);
    }
    if (this.image === image) this.isCatchingUp = false;
  }

  #deliverCrash(state: State): void {
    const { processes, zombies } = this.kernel;
    const known = new Set(state.workers.flatMap(({ pid }) => pid ?? []));
    const children = new Set([...processes.keys(), ...zombies.map(({ pid }) => pid)]);
    for (const worker of state.workers) if (!children.has(worker.pid ?? -1)) this.checks.lost(worker);
    this.deliver({
      kind: "crashed",
      reason: "simulated",
      recent: this.#recentCrashes(),
      about: this.#about(),
      lost: [...known].filter((pid) => !children.has(pid)),
      found: [...processes.values()].filter(({ pid }) => !known.has(pid)),
      connections: this.clients.open,
    });
  }

  #recentCrashes(): number {
    return this.#crashedAt.filter((at) => at > this.now - 60_000).length;
  }

  /** A place where the master can end. */
  #place(): void {
    if (this.#endsHere()) throw new Crashed();
  }

  #endsHere(): boolean {
    if (this.exited !== null) return false;
    this.places += 1;
    if (this.#killAt !== null) return this.places === this.#killAt;
    if (this.#crashOneIn === null || this.calm) return false;
    // Five within a minute would end the master; that has its own seeds.
    if (this.#recentCrashes() >= 4 && !this.chance.oneIn(40)) return false;
    return this.chance.oneIn(this.#crashOneIn);
  }

  #save(state: State): void {
    this.#place();
    const cut = this.#endsHere() ? { share: this.chance.next(), error: new Crashed() } : null;
    this.#kept?.save(state, cut);
    this.#handled();
    this.checks.saved();
    this.#turn = { told: [], replied: [] };
    this.#place();
  }

  #disturb(): void {
    const roll = this.chance.below(100);
    if (roll < 38) this.#advance();
    else if (roll < 56) this.kernel.reapOne();
    else if (roll < 62) this.kernel.killOne();
    else if (roll < 84) this.clients.act();
    else if (roll < 88) this.#signalMaster();
    else if (roll < 90) this.#onDisk = this.chance.pick(releases);
    else if (roll < 91) this.#checkFails = this.chance.oneIn(2);
    else if (roll < 92) this.#execFails = this.chance.oneIn(2);
    else if (roll < 94) this.clients.hangUp();
    else if (roll < 96) this.kernel.strangeAck();
    else if (roll < 98) this.kernel.say();
    else if (roll < 99) this.deliver({ kind: "orphans-reaped", count: 1 + this.chance.below(9) });
    else this.#surprise();
  }

  /** Early alarms, answers that nobody asked for, and how the zygote is. */
  #surprise(): void {
    const roll = this.chance.below(4);
    if (roll === 0) this.deliver({ kind: "checked", reason: null, launch: this.#launchAhead() });
    else if (roll === 1) this.deliver({ kind: "signalled", id: 1, signal: "SIGUSR2" });
    else if (roll === 2 && this.kernel.preloads) {
      const progress = this.chance.pick(["loading", "active", "off"] as const);
      this.deliver({ kind: "preloaded", path: "app.rb", progress, reason: progress === "off" ? "simulated" : null });
    } else this.deliver({ kind: "woke" });
  }

  /** To the next thing that is due, or a little way. */
  #advance(): void {
    const due = this.#nextDue();
    const target = due === null || this.chance.oneIn(3) ? this.now + 1 + this.chance.below(400) : due;
    this.now = Math.max(this.now, due === null ? target : Math.min(target, due));
    this.#happen();
  }

  #nextDue(): Millis | null {
    const times = [this.#alarm, this.#check?.endsAt ?? null, ...this.kernel.dueTimes()];
    return times.reduce<Millis | null>(
      (least, at) => (at !== null && (least === null || at < least) ? at : least),
      null,
    );
  }

  /** Whatever is due now happens, in the order that chance likes. */
  #happen(): void {
    const acts = this.kernel.acts();
    if (this.#alarm !== null && this.#alarm <= this.now) acts.push(() => this.#ring());
    if (this.#check !== null && this.#check.endsAt <= this.now) acts.push(() => this.#endCheck());
    while (acts.length > 0) acts.splice(this.chance.below(acts.length), 1)[0]?.();
  }

  #ring(): void {
    if (this.#alarm === null || this.#alarm > this.now) return;
    this.#alarm = null;
    this.deliver({ kind: "woke" });
  }

  #signalMaster(): void {
    const signal = this.chance.pick(["SIGHUP", "SIGHUP", "SIGHUP", "SIGUSR1", "SIGWINCH", "stop"]);
    if (signal !== "stop") return this.deliver({ kind: "signal", signal });
    if (!this.chance.oneIn(6)) return;
    if (this.chance.oneIn(8)) {
      this.quit = true;
      return this.deliverSurely({ kind: "signal", signal: "SIGQUIT" });
    }
    // Now and then all three at once: tell, do not wait, kill.
    for (let times = this.chance.oneIn(4) ? 3 : 1; times > 0; times -= 1) {
      this.stopRequests += 1;
      this.deliverSurely({ kind: "signal", signal: this.chance.pick(["SIGTERM", "SIGINT", "SIGUSR2"]) });
    }
  }

  #settle(): void {
    this.note("--- calm");
    this.calm = true;
    this.#checkFails = false;
    this.#execFails = false;
    this.#soothe();
    // Longer than every timeout of the configuration; a pool that fails for ever goes on for ever.
    const until = this.now + 150_000;
    while (this.now < until && this.exited === null) {
      while (this.kernel.zombies.length > 0 && this.exited === null) this.kernel.reapOne();
      const due = this.#nextDue();
      if (due === null || this.checks.isSettled()) return;
      this.now = Math.max(this.now, due);
      this.#happen();
    }
  }

  /** The operator takes back what a hostile client set, and lets a paused upgrade go on. */
  #soothe(): void {
    const { number, respawnMs, maxUnacked, signalTimeoutMs, ackTimeoutMs, gracePeriodMs, upgradeTimeoutMs } =
      this.config;
    const seconds = (ms: Millis | null) => (ms === null ? "null" : ms / 1000);
    const settings = {
      number,
      seconds: seconds(respawnMs),
      "max-unacked": maxUnacked,
      "signal-timeout": seconds(signalTimeoutMs),
      "ack-timeout": seconds(ackTimeoutMs),
      "grace-period": seconds(gracePeriodMs),
      "upgrade-timeout": seconds(upgradeTimeoutMs),
    };
    const words = Object.entries(settings).map(([name, value]) => `${name}: ${value}`);
    const { image } = this;
    this.clients.ask("config", `{${words.join(", ")}}`);
    if (this.state.mode.kind === "upgrading" && this.state.mode.upgrade.paused) this.clients.ask("resume");
    // A crash may have swallowed a command: who gave it gives it again.
    if (this.image !== image) this.#soothe();
  }

  #startCheck(): void {
    const { chance } = this;
    const fails = this.#checkFails || this.kernel.fails(6);
    const reason = fails ? "simulated: the new einhorn is broken" : null;
    let tookMs = 20 + chance.below(100);
    // It cannot even be started, or hangs until the core gives up.
    if (fails && chance.oneIn(2)) tookMs = 0;
    else if (!this.calm && chance.oneIn(10)) tookMs = 60_000;
    this.tally.count(fails ? `fault check ${tookMs === 0 ? "cannot start" : "fails"}` : "check");
    this.#check = { endsAt: this.now + tookMs, reason };
  }

  #endCheck(): void {
    if (this.#check === null) return;
    const { reason } = this.#check;
    this.#check = null;
    this.deliver({ kind: "checked", reason, launch: reason === null ? this.#launchAhead() : null });
    if (this.state.handover?.phase === "starting") this.tally.count("re-exec waits for starts");
  }

  /** The new image may be another einhorn, or have other options. */
  #launchAhead(): Launch | null {
    return this.chance.oneIn(2) ? this.#launch() : null;
  }

  #makePorts(): Ports {
    /** The master can end before a call, and after it before it knows. */
    const around = <T>(call: () => T): T => {
      this.#place();
      const result = call();
      this.#place();
      return result;
    };
    return {
      clock: {
        now: () => {
          this.#place();
          this.#stepsInTurn += 1;
          if (this.#stepsInTurn > 1000) throw new Error("one turn of the master does not end");
          return this.now;
        },
        wakeAt: (at) => {
          this.#alarm = at;
        },
      },
      processes: {
        spawn: (order) => around(() => this.kernel.spawn(order)),
        signal: (pid, signal) => around(() => this.kernel.signal(pid, signal)),
        signalRest: () =>
          around(() => {
            this.#swept = true;
          }),
        measure: (pids) => around(() => this.kernel.measure(pids)),
      },
      reexec: {
        check: () => around(() => this.#startCheck()),
        endCheck: () =>
          around(() => {
            if (this.#check === null) return;
            if (this.#check.endsAt > this.now + 1000) this.tally.count("fault check hangs");
            this.#check = { endsAt: this.now, reason: "simulated: it was ended" };
          }),
        exec: (state) =>
          around(() => {
            if (!this.#execFails && !this.kernel.fails(4)) throw new Replaced(this.roundTrip(state), this.now);
            this.tally.count("fault execve of the next image");
            return "simulated: execve failed";
          }),
      },
      save: (state) => this.#save(state),
      control: {
        reply: (asker, reply) => {
          this.#place();
          if (!this.clients.open.includes(asker.connection)) return;
          this.checks.replied(asker, reply);
          if (!reply.wait) this.#turn.replied.push(Number(asker.requestId));
          else if (this.clients.leavesDuring(asker.connection)) {
            this.tally.count("hostile hang-up within an answer");
            this.#supervisor.deliver({ kind: "hung-up", connection: asker.connection });
          }
        },
      },
      log: (entry) => {
        this.note(() => `log ${entry.level} ${entry.message}`);
        this.#place();
      },
      announce: () => this.#place(),
      exit: (code) => {
        this.#place();
        this.note(`exit ${code}`);
        this.checks.exiting();
        this.exited = code;
      },
    };
  }

  /** Through the document, as a re-exec does; nothing may change on the way. */
  roundTrip(state: State): State {
    const text = JSON.stringify(this.code.encodeState(state));
    const next = this.code.decodeState(JSON.parse(text), this.config);
    this.checks.sameState(state, next);
    return next;
  }

  #launch(): Launch {
    return this.kernel.launch(this.#onDisk);
  }

  #about(): About {
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
}
