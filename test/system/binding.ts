/** Binds for the tests of listeners, and what is asked of the sockets that come of them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createConnection, type NetConnectOpts } from "node:net";
import { join } from "node:path";
import { UserError } from "../../src/errors.ts";
import type { Bind } from "../../src/options.ts";
import { closeListeners, type Listener, openListeners } from "../../src/system/listeners.ts";
import { native } from "../../src/system/native.ts";
import { run, shell } from "./child.ts";

/** For a program that opens listeners by itself. */
export const listenersModule = JSON.stringify(join(import.meta.dirname, "../../src/system/listeners.ts"));

export function bind(target: Bind["target"], options: Partial<Bind> = {}): Bind {
  const none = {
    queues: null,
    v6Only: null,
    backlog: null,
    deferAcceptS: null,
    fastOpen: null,
    mode: null,
    owner: null,
    name: null,
  };
  const off = { nonBlocking: false, noDelay: false, freeBind: false };
  return { text: `the ${target.kind} bind`, target, reuseAddress: target.kind !== "unix", ...off, ...none, ...options };
}
export const tcp = (host = "127.0.0.1", port = 0): Bind["target"] => ({ kind: "tcp", host, port });

export async function opened<T>(binds: readonly Bind[], use: (...listeners: Listener[]) => Promise<T> | T): Promise<T> {
  const listeners = await openListeners(binds, 64);
  try {
    return await use(...listeners);
  } finally {
    closeListeners(listeners);
  }
}

export async function refusal(...binds: Bind[]): Promise<string> {
  try {
    closeListeners(await openListeners(binds, 64));
  } catch (error) {
    assert.ok(error instanceof UserError, String(error));
    assert.equal(error.exitCode, 1);
    return error.message;
  }
  throw new Error("it was bound");
}

export const int = (fd: number, level: number, name: number): number => {
  const bytes = native.getSocketOption({ fd, level, name, length: 4 });
  return new DataView(bytes.buffer).getInt32(0, true);
};
export const isNonBlocking = async (fd: number): Promise<boolean> => {
  const { output } = await run({ ...shell("grep flags: /proc/self/fdinfo/3"), fds: [fd] });
  return (Number.parseInt(output.split(/\s+/)[1] ?? "", 8) & 0o4000) !== 0;
};

export async function connects(to: NetConnectOpts): Promise<boolean> {
  const socket = createConnection(to);
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
