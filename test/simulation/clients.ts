/** Who speaks to the simulated master on its command socket: operators, and those who mean no good. */
import type { Asker, ConnectionId } from "../../src/core/model.ts";
import type { World } from "./world.ts";

const sensible: readonly [string, ...string[]][] = [
  ["upgrade"],
  ["upgrade"],
  ["upgrade_fleet"],
  ["upgrade", "--canary", "1", "--soak", "2"],
  ["upgrade", "--canary", "3"],
  ["reload"],
  ["abort"],
  ["pause"],
  ["resume"],
  ["resume"],
  ["inc"],
  ["dec"],
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

/** What the border (commands.ts) has to refuse: none of it may reach the core, and each gets an answer. */
const nonsense: readonly { command?: unknown; args?: unknown }[] = [
  {},
  { command: null },
  { command: 7 },
  { command: "__proto__" },
  { command: "constructor", args: ["x"] },
  { command: { name: "die" } },
  { command: "DIE" },
  { command: "upgrade", args: ["--canary", "-1"] },
  { command: "upgrade", args: ["--canary"] },
  { command: "upgrade", args: ["--soak", "1e999"] },
  { command: "set_workers", args: ["0"] },
  { command: "set_workers", args: [{ toString: 1 }] },
  { command: "set_workers", args: "4" },
  { command: "inc", args: ["99999"] },
  { command: "signal", args: [] },
  { command: "signal", args: ["SIGNOPE"] },
  { command: "signal", args: [[null]] },
  { command: "die", args: ["RTMIN+99"] },
  { command: "config", args: [{ workers: [] }] },
  { command: "config", args: ["{__proto__: 1}"] },
  { command: "config", args: [{ number: Number.NaN }] },
  { command: "config", args: [] },
  { command: "config", args: ["{seconds: 0}"] },
];

/** As many commands as a client gets in before the master turns to anybody else. */
const flood = 20;

export class Clients {
  readonly #world: World;
  #nextConnection = 1;
  #open: ConnectionId[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  get open(): readonly ConnectionId[] {
    return this.#open;
  }

  act(): void {
    const { chance } = this.#world;
    const roll = chance.below(60);
    if (roll < 6) this.#nonsense();
    else if (roll === 6) this.#flood();
    else if (roll < 10) this.#overdo();
    else this.ask(...this.#anything());
  }

  ask(command: string, ...args: string[]): void {
    const world = this.#world;
    const read = world.code.readCommand({ command, args });
    if ("error" in read) throw new Error(`the simulator sent a bad command: ${read.error}`);
    world.tally.count(`command ${command}`);
    const asker = this.#asker();
    world.checks.asked(asker, command);
    if (command === "die") world.stopRequests += 1;
    const { image } = world;
    world.deliver({ kind: "asked", asker, command: read.command, wallMs: world.now });
    // A command that a crash swallowed is not answered: who gave it knows that it may not have happened.
    if (command !== "die" || world.image === image) return;
    world.stopRequests -= 1;
    world.mayHaveStopped = true;
  }

  /** The master learns of it at its next look; also in the middle of an answer (see `mayHangUp`). */
  hangUp(connection = this.#open.at(-1)): void {
    if (connection === undefined || !this.#close(connection)) return;
    this.#world.deliver({ kind: "hung-up", connection });
  }

  /** In the middle of a streamed answer; true: the master is to be told while it is still in that turn. */
  leavesDuring(connection: ConnectionId): boolean {
    return this.#world.chance.oneIn(40) && this.#close(connection);
  }

  #close(connection: ConnectionId): boolean {
    if (!this.#open.includes(connection)) return false;
    this.#open = this.#open.filter((other) => other !== connection);
    this.#world.checks.hungUp(connection);
    return true;
  }

  #asker(): Asker {
    const { chance, checks } = this.#world;
    if (this.#open.length === 0 || chance.oneIn(4)) this.#open.push(this.#nextConnection++);
    return { connection: chance.pick(this.#open), requestId: checks.nextRequest() };
  }

  #anything(): readonly [string, ...string[]] {
    const { chance } = this.#world;
    if (chance.oneIn(400)) return ["die"];
    if (chance.oneIn(20)) return ["set_workers", String(1 + chance.below(6))];
    return chance.pick(sensible);
  }

  #nonsense(): void {
    const { chance, code, tally } = this.#world;
    const request = chance.pick(nonsense);
    const read = code.readCommand(request);
    if (!("error" in read)) throw new Error(`${JSON.stringify(request)} was taken for a command`);
    if (read.error === "") throw new Error(`${JSON.stringify(request)} was refused without a word`);
    tally.count("hostile nonsense");
  }

  #flood(): void {
    const { chance, tally } = this.#world;
    tally.count("hostile flood");
    for (let n = 0; n < flood && this.#world.exited === null; n += 1) {
      this.ask(...chance.pick([["upgrade"], ["reload"], ["wait"], ["abort"], ["inc"], ["dec"]] as [string][]));
    }
    if (chance.oneIn(2)) this.hangUp();
  }

  /** In the right words, and not what a sane operator says. */
  #overdo(): void {
    const { chance, tally } = this.#world;
    tally.count("hostile command");
    this.ask(
      ...chance.pick<readonly [string, ...string[]]>([
        ["signal", "KILL"],
        ["signal", "TERM", "TERM", "TERM"],
        ["signal", "STOP", "CONT"],
        ["dec", "10000"],
        ["config", "{number: 1, seconds: 0.000001, max-unacked: 1}"],
        ["config", "{signal-timeout: 0}"],
        ["config", "{ack-timeout: 0.001}"],
        ["config", "{grace-period: 0}"],
        ["config", "{upgrade-timeout: 0.01}"],
        ["upgrade", "--canary", "10000"],
        ["upgrade_fleet", "--canary", "1"],
        ["help"],
        ["ehlo"],
      ]),
    );
  }
}
