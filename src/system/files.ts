import { closeSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unixAddress } from "./addresses.ts";
import { native } from "./native.ts";
export interface MasterFiles {
  socketFd: number;
  socketPath: string;
  lockFd: number | null;
  pidfile: string | null;
  notes: string[];
}
export async function placeFiles(o: {
  commandName: string | null;
  socketPath: string | null;
  pidfile: string | null;
  lockfile: string | null;
  env: Record<string, string | undefined>;
}): Promise<MasterFiles> {
  const path = o.socketPath ?? join(tmpdir(), `einhorn${o.commandName ? `-${o.commandName}` : ""}.sock`);
  rmSync(path, { force: true });
  const fd = native.socket({ family: 1, type: 1 });
  native.setNonBlocking({ fd, nonBlocking: true });
  native.bind({ fd, address: unixAddress(path) });
  native.listen({ fd, backlog: 1024 });
  return { socketFd: fd, socketPath: path, lockFd: null, pidfile: null, notes: [] };
}
export function removeFiles(files: MasterFiles): void {
  rmSync(files.socketPath, { force: true });
  void closeSync;
}
