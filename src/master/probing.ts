/** `--http`: the core's views of its state behind the probes' server. */
import { poolSamples, type QueueDepth, queueSamples } from "../core/figures.ts";
import type { State } from "../core/model.ts";
import { readiness, statusData } from "../core/views.ts";
import { acceptQueue } from "../system/accept-queue.ts";
import { now } from "../system/clock.ts";
import { HttpServer } from "../system/http.ts";
import type { Listener } from "../system/listeners.ts";
import { native } from "../system/native.ts";
import { probes } from "../system/probes.ts";
import * as reactor from "../system/reactor.ts";
import type { HttpSocket } from "../system/rebinding.ts";

export function serveProbes(socket: HttpSocket, listeners: readonly Listener[], state: () => State): HttpServer {
  return new HttpServer({
    fd: socket.listener.fds[0] as number,
    connections: socket.connections,
    reactor,
    sockets: native,
    answer: probes({
      readiness: () => readiness(state()),
      started: () => state().started,
      status: () => statusData(state(), now()),
      samples: () => [...poolSamples(state()), ...queueSamples(depths(listeners))],
    }),
  });
}

/** How many connections wait in each bound socket, all of its queues together. */
function depths(listeners: readonly Listener[]): QueueDepth[] {
  return listeners.flatMap(({ text, address, family, fds }) => {
    const queues = fds.flatMap((fd) => acceptQueue(native, fd, family) ?? []);
    if (queues.length === 0) return [];
    const depth = queues.reduce((sum, queue) => sum + queue.depth, 0);
    const limit = queues.reduce((sum, queue) => sum + queue.limit, 0);
    return [{ text, address, depth, limit }];
  });
}
