/** What is kept for a crash: the core's state, the shell's description and each connection, as parts of system/journal.ts's file. */
import type { ConnectionState } from "./control/connection.ts";
import type { ControlState } from "./control/server.ts";
import { changesBetween, documentOf } from "./core/changes.ts";
import type { ConnectionId, Event, State } from "./core/model.ts";
import { type CaptureState, captureFrom, captureParts } from "./system/capture-state.ts";
import type { Change, Parts } from "./system/journal.ts";

export interface KeeperSettings {
  /** The shell's part of the document, connections included. */
  shell(): object & { control: ControlState; capture?: CaptureState | null };
  connectionChanges(): [ConnectionId, ConnectionState | null][];
  captureChanges(): Change[];
  /** Parts of the shell that change while the master runs, by name. */
  changingShell(): Readonly<Record<string, unknown>>;
}

export class Keeper {
  readonly #settings: KeeperSettings;
  #state: State;
  #kept: State | null = null;
  readonly #pending = new Map<string, Event>();
  /** Of those, what the turn under way is about. */
  readonly #handled = new Set<string>();
  readonly #gone: Change[] = [];
  /** What was written of each connection, null where that is long: most changes are undone before they are looked at. */
  readonly #connections = new Map<ConnectionId, string | null>();
  readonly #shell = new Map<string, string>();

  constructor(state: State, settings: KeeperSettings) {
    this.#state = state;
    this.#settings = settings;
  }

  /** The state after a whole turn, and with it what was handled in that turn. */
  set(state: State): void {
    this.#state = state;
    this.#forgetHandled();
  }

  /** What the image before heard and did not act upon. */
  expect(events: readonly Event[]): void {
    for (const event of events) this.#pending.set(nameOf(event), event);
  }

  /** Delivers an ACK or a request to stop: it comes only once, so it is written down first, and a crash in its turn does not lose it. */
  surely(event: Event, write: () => void, deliver: () => void): void {
    const name = nameOf(event);
    if (!this.#pending.has(name)) {
      this.#pending.set(name, event);
      write();
    }
    this.#handled.add(name);
    deliver();
    // Nothing came of it. Heard again after a crash much later, its pid may be another worker's.
    if (this.#forgetHandled()) write();
  }

  #forgetHandled(): boolean {
    const count = this.#handled.size;
    for (const name of this.#handled) {
      this.#pending.delete(name);
      this.#gone.push([name]);
    }
    this.#handled.clear();
    return count > 0;
  }

  changes(): Change[] {
    const changes = [...changesBetween(this.#kept, this.#state), ...this.#gone.splice(0)];
    changes.push(...this.#pending, ...this.#settings.captureChanges());
    this.#kept = this.#state;
    for (const [name, value] of Object.entries(this.#settings.changingShell())) {
      const text = JSON.stringify(value);
      if (text === this.#shell.get(name)) continue;
      this.#shell.set(name, text);
      changes.push([`shell/${name}`, value]);
    }
    for (const [id, connection] of this.#settings.connectionChanges()) {
      const text = connection === null ? undefined : JSON.stringify(connection);
      if (text === this.#connections.get(id)) continue;
      if (text === undefined) {
        this.#connections.delete(id);
        changes.push([`connection/${id}`]);
      } else {
        this.#connections.set(id, remembered(text));
        changes.push([`connection/${id}`, connection]);
      }
    }
    return changes;
  }

  *everything(): Iterable<Change> {
    yield* changesBetween(null, this.#state);
    yield* this.#pending;
    const { control, capture, ...shell } = this.#settings.shell();
    for (const [name, value] of Object.entries(shell)) if (value !== undefined) yield [`shell/${name}`, value];
    if (capture) yield* captureParts(capture);
    yield ["control", { ...control, connections: [] }];
    for (const connection of control.connections) {
      this.#connections.set(connection.id, remembered(JSON.stringify(connection)));
      yield [`connection/${connection.id}`, connection];
    }
  }
}

/** A thousand connections with half a request each must not be in memory once more. */
function remembered(text: string): string | null {
  return text.length <= 1024 ? text : null;
}

function nameOf(event: Event): string {
  return `pending/${JSON.stringify(event)}`;
}

/** What was heard, but not what it changed. */
export function pendingIn(parts: Parts): Event[] {
  return [...parts].flatMap(([name, value]) => (name.startsWith("pending/") ? [value as Event] : []));
}

/** The document of an ordinary re-exec, from what a crash left. */
export function documentFrom(parts: Parts): { format: number; core: unknown; shell: Record<string, unknown> } {
  const shell: Record<string, unknown> = {};
  const connections: ConnectionState[] = [];
  for (const [name, value] of parts) {
    if (name.startsWith("shell/")) shell[name.slice(6)] = value;
    else if (name.startsWith("connection/")) connections.push(value as ConnectionState);
  }
  const control = parts.get("control") as ControlState;
  // A number that was given after this was written belongs to a connection that nobody is owed anything on.
  const nextId = Math.max(control.nextId, ...connections.map(({ id }) => id + 1));
  return {
    ...documentOf(parts),
    shell: { ...shell, capture: captureFrom(parts), control: { ...control, nextId, connections } },
  };
}
