/** Orders to the addon of test/setup/faults.sh: which call of the running master fails, with what, and how often. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { root } from "./master.ts";
import { until } from "./until.ts";

const folder = path.join(root, ".cache/faults");
/** struct Order of test/setup/faults.cc: six int32, then the name. */
const [timesAt, errorAt, hitsAt, whereAt, masterAt, afterAt, callAt, callBytes] = [0, 4, 8, 12, 16, 20, 24, 40];
const places = { anywhere: 0, inMaster: 1, elsewhere: 2 } as const;

export interface Fault {
  readonly call: string;
  readonly errno: string;
  /** How often it fails; default 1. */
  readonly times?: number;
  /** How often it succeeds before that; default 0. */
  readonly after?: number;
  /** In the master; or in its children, until they have executed. Default anywhere. */
  readonly where?: keyof typeof places;
}

/** Builds it, if it is not there; the functions that can be made to fail. */
export function faultyCalls(): string[] {
  execFileSync("bash", [path.join(root, "test/setup/faults.sh")], { stdio: ["ignore", "inherit", "inherit"] });
  return fs.readFileSync(path.join(folder, "calls"), "utf8").trim().split("\n");
}

export class Faults {
  /** Of this test's own; anybody may enter it. */
  readonly directory: string;
  readonly #file: string;
  readonly #fd: number;

  constructor(t: TestContext) {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-faults-"));
    fs.chmodSync(this.directory, 0o755);
    this.#file = path.join(this.directory, "order");
    fs.writeFileSync(this.#file, Buffer.alloc(callAt + callBytes));
    this.#fd = fs.openSync(this.#file, "r+");
    t.after(() => {
      fs.closeSync(this.#fd);
      fs.rmSync(this.directory, { recursive: true });
    });
  }

  /** For the master: it and every image after it obey. */
  get env(): Record<string, string> {
    return { EINHORN_FAULTS: this.#file, EINHORN_ADDON: path.join(folder, "einhorn.node") };
  }

  /** `masterPid` null: the first that comes is the master. */
  order({ call, errno, times = 1, after = 0, where = "anywhere" }: Fault, masterPid: number | null): void {
    this.end();
    const number = os.constants.errno[errno as keyof typeof os.constants.errno];
    if (number === undefined || call.length >= callBytes) throw new Error(`no such fault: ${call} ${errno}`);
    this.#write(errorAt, number);
    this.#write(hitsAt, 0);
    this.#write(whereAt, places[where]);
    this.#write(masterAt, masterPid ?? 0);
    this.#write(afterAt, after);
    fs.writeSync(this.#fd, Buffer.from(call.padEnd(callBytes, "\0")), 0, callBytes, callAt);
    this.#write(timesAt, times);
  }

  /** How often it has failed since the order. */
  hits(): number {
    const bytes = Buffer.alloc(4);
    fs.readSync(this.#fd, bytes, 0, 4, hitsAt);
    return bytes.readInt32LE(0);
  }

  async wereHit(fault: Fault): Promise<void> {
    const atLeastOnce = `${fault.call} to be called, so that ${fault.errno} is tried`;
    await until(atLeastOnce, () => this.hits() > 0, undefined, { everyMs: 5, limitMs: 20_000 });
  }

  end(): void {
    this.#write(timesAt, 0);
  }

  #write(at: number, number: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(number);
    fs.writeSync(this.#fd, bytes, 0, 4, at);
  }
}
