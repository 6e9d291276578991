/**
 * Who may speak on the command socket: root and the master's own user about everything; a worker, or what it started,
 * about itself. Identities come from the kernel (SO_PEERCRED, unix(7)), never from what a request says: in a container
 * an orphaned grandchild has getppid() == 1 == EINHORN_MASTER_PID and believes that it is a worker.
 */
import type { Pid } from "../core/model.ts";
import { parentOf } from "./processes.ts";

export interface Authority {
  /** Whether this user may give any command. */
  trusts(uid: number): boolean;
  /** The worker that this process is, or descends from; null when there is none. */
  workerOf(pid: Pid): Pid | null;
}

/** More generations of processes than any worker has below it; a bound, since parents may change while we look. */
const maxGenerations = 64;

export function createAuthority(o: { uid: number; isWorker(pid: Pid): boolean }): Authority {
  return {
    trusts: (uid) => uid === 0 || uid === o.uid,
    workerOf(pid) {
      let ancestor: Pid | null = pid;
      for (let i = 0; i < maxGenerations && ancestor !== null && ancestor > 0; i++) {
        if (o.isWorker(ancestor)) return ancestor;
        ancestor = parentOf(ancestor);
      }
      return null;
    },
  };
}
