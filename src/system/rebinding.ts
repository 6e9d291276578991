/** The sockets of `-b` and `--http` from one image to the next: what is bound stays, the rest follows the options. */
import type { Options } from "../options.ts";
import type { HandedOver } from "./http.ts";
import { closeListeners, type Listener, openListener } from "./listeners.ts";

/** The probes' socket, and connections whose requests are not complete. */
export interface HttpSocket {
  listener: Listener;
  connections: HandedOver[];
}

/** Keeps what is bound, opens what the options name anew, closes what they no longer name. What cannot be opened is told, and left out. */
export async function rebind(
  listeners: readonly Listener[],
  options: Options,
  trouble: (error: unknown) => void,
): Promise<Listener[]> {
  const wanted = new Set(options.binds.map(({ text }) => text));
  closeListeners(listeners.filter(({ text }) => !wanted.has(text)));
  const open: Listener[] = [];
  for (const bind of options.binds) {
    const bound = listeners.find(({ text }) => text === bind.text);
    if (bound !== undefined) open.push(bound);
    else await openListener(bind, options.config.backlog).then((listener) => open.push(listener), trouble);
  }
  return open;
}

export async function rebindHttp(
  socket: HttpSocket | null,
  options: Options,
  trouble: (error: unknown) => void,
): Promise<HttpSocket | null> {
  const text = httpText(options);
  if (socket !== null && socket.listener.text === text) return socket;
  if (socket !== null) closeListeners([socket.listener]);
  try {
    const listener = await openHttp(options);
    return listener === null ? null : { listener, connections: [] };
  } catch (error) {
    trouble(error);
    return null;
  }
}

function httpText(options: Options): string | null {
  if (options.http === null) return null;
  return "path" in options.http ? `unix:${options.http.path}` : `${options.http.host}:${options.http.port}`;
}

export async function openHttp(options: Options): Promise<Listener | null> {
  const text = httpText(options);
  if (options.http === null || text === null) return null;
  const target =
    "path" in options.http
      ? { kind: "unix" as const, path: options.http.path }
      : { kind: "tcp" as const, ...options.http };
  const plain = {
    queues: null,
    v6Only: null,
    backlog: null,
    noDelay: false,
    deferAcceptS: null,
    fastOpen: null,
    freeBind: false,
  };
  return openListener(
    { ...plain, text, target, reuseAddress: true, nonBlocking: true, mode: null, owner: null, name: null },
    options.config.backlog,
  );
}
