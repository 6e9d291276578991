/** What is said on the command socket as events for the core. */
import type { Handlers } from "../control/contract.ts";
import type { CommandServer } from "../control/server.ts";
import { readCommand } from "../core/commands.ts";
import type { Event } from "../core/model.ts";
import type { Log } from "../system/log.ts";

export interface ReceptionSettings {
  log: Log;
  control(): CommandServer;
  deliver(event: Event): void;
  /** For what is said only once. */
  deliverSurely(event: Event): void;
}

export function reception({ log, control, deliver, deliverSurely }: ReceptionSettings): Handlers {
  return {
    command(asker, request) {
      const read = readCommand(request);
      if ("command" in read) deliver({ kind: "asked", asker, command: read.command, wallMs: Date.now() });
      else control().reply(asker, { message: read.error, wait: false, error: true });
    },
    ack: (pid) => deliverSurely({ kind: "acked", pid, via: "command" }),
    ping: (pid, requestId) => deliver({ kind: "pinged", pid, requestId }),
    hungUp: (connection) => deliver({ kind: "hung-up", connection }),
    refused: ({ pid, uid, command, others }) =>
      log.error(`Refused ${command} from pid ${pid} of uid ${uid} on the command socket`, { pid, uid, others }),
    trouble: (message) => log.error(message),
  };
}
