/** What outlives a crash of the simulated master: the product's own journal, in memory that a crash can cut a write off in. */
import type { Event, State } from "../../src/core/model.ts";
import type { Storage } from "../../src/system/journal.ts";
import type { Code } from "./world.ts";

/** A sparse file: each of the journal's regions begins at a multiple of 2 MiB. */
class Memory implements Storage {
  readonly #regions = new Map<number, Buffer>();
  /** Thrown in the middle of the next write. */
  cut: { share: number; error: object } | null = null;

  read(length: number, at: number): Buffer {
    const { region, offset } = this.#place(at, 0);
    return region.subarray(offset, offset + length);
  }

  write(bytes: Buffer, at: number): void {
    const { cut } = this;
    this.cut = null;
    const length = cut === null ? bytes.length : Math.floor(bytes.length * cut.share);
    const { region, offset } = this.#place(at, length);
    bytes.copy(region, offset, 0, length);
    if (cut !== null) throw cut.error;
  }

  #place(at: number, length: number): { region: Buffer; offset: number } {
    const start = at - (at % (2 * 1024 * 1024));
    const offset = at - start;
    let region = this.#regions.get(start) ?? Buffer.alloc(16 * 1024);
    if (offset + length > region.length) {
      const larger = Buffer.alloc(Math.max(2 * region.length, offset + length));
      region.copy(larger);
      region = larger;
    }
    this.#regions.set(start, region);
    return { region, offset };
  }
}

/** One image's memory file, as the master has it (Master.#survive). */
export class Kept {
  readonly #memory = new Memory();
  readonly #keeper: InstanceType<Code["Keeper"]>;
  readonly #journal: InstanceType<Code["Journal"]>;
  readonly #code: Code;
  /** The last state that was written whole. */
  state: State;

  constructor(code: Code, state: State, heard: readonly Event[]) {
    this.#code = code;
    this.state = state;
    this.#keeper = new code.Keeper(state, {
      shell: () => ({ control: { listener: null, nextId: 1, connections: [] } }),
      connectionChanges: () => [],
      captureChanges: () => [],
      changingShell: () => ({}),
    });
    this.#keeper.expect(heard);
    this.#journal = new code.Journal(this.#memory, () => this.#keeper.everything());
    this.#write();
  }

  /** `cut`: the master ends when this share of the bytes has been written. */
  save(state: State, cut: { share: number; error: object } | null): void {
    this.#keeper.set(state);
    this.#memory.cut = cut;
    this.#write();
    this.#memory.cut = null;
    this.state = state;
  }

  surely(event: Event, deliver: () => void): void {
    this.#keeper.surely(event, () => this.#write(), deliver);
  }

  /** What the next image finds. */
  read(): { document: unknown; heard: Event[] } {
    const parts = this.#code.readJournal(this.#memory);
    if (parts === null) throw new Error("the state that was kept cannot be read");
    return { document: this.#code.documentFrom(parts), heard: this.#code.pendingIn(parts) };
  }

  #write(): void {
    const changes = this.#keeper.changes();
    if (changes.length > 0) this.#journal.write(changes);
  }
}
