/** `-m notify`: one socket for the master's life, and what workers say on it as events. */
import type { Authority } from "../control/contract.ts";
import type { Event, Pid } from "../core/model.ts";
import type { Log } from "../system/log.ts";
import {
  closeNotifySocket,
  type Notice,
  type NotifySocket,
  openNotifySocket,
  watchNotices,
} from "../system/notify-socket.ts";

export interface NoticesSettings {
  /** The socket of the image before. */
  from: NotifySocket | null;
  authority: Authority;
  log: Log;
  deliver(event: Event): void;
  /** For what is said only once. */
  deliverSurely(event: Event): void;
}

export class Notices {
  readonly #settings: NoticesSettings;
  #socket: NotifySocket | null;

  constructor(settings: NoticesSettings) {
    this.#settings = settings;
    this.#socket = settings.from;
  }

  /** Null before it was first needed. */
  get socket(): NotifySocket | null {
    return this.#socket;
  }

  /** Begins to listen, if the image before did. */
  resume(): void {
    if (this.#socket !== null) this.#watch(this.#socket);
  }

  /** What NOTIFY_SOCKET says; opens it when it is first needed, as the ACK mode may change. */
  name(): string {
    if (this.#socket === null) {
      this.#socket = openNotifySocket();
      this.#watch(this.#socket);
    }
    return this.#socket.name;
  }

  close(): void {
    if (this.#socket !== null) closeNotifySocket(this.#socket);
  }

  #watch(socket: NotifySocket): void {
    const { authority, log } = this.#settings;
    watchNotices(socket, {
      workerOf: (pid) => authority.workerOf(pid),
      notice: (pid, notice) => this.#notice(pid, notice),
      refused: (sender) => log.error("Dropped an sd_notify message that no worker of ours sent", sender),
    });
  }

  #notice(pid: Pid, { ready, ...said }: Notice): void {
    if (Object.keys(said).length > 0) this.#settings.deliver({ kind: "notified", pid, ...said });
    if (ready) this.#settings.deliverSurely({ kind: "acked", pid, via: "notify" });
  }
}
