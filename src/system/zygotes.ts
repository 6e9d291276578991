/**
 * The zygotes of all generations, seen from the master: who is asked to fork, and what is done when one does not answer.
 *
 * An order is answered later by an event, `spawned` or `unspawned`; the master never waits. Whatever goes wrong ends in exec,
 * with the reason in `status`. Everything here goes through a re-exec, connections and unanswered orders included.
 */
import { closeSync } from "node:fs";
import type { Generation, Launch, Pid } from "../core/model.ts";
import { unwatch, watch } from "./reactor.ts";
import { condemn, obey, sendOrders, type ZygoteHost, type ZygoteOrder } from "./zygote-orders.ts";
import { dueAt, isOver, isStuck, judge, lingerMs, newPlace, type Place, type Zygote } from "./zygote-place.ts";
import { hear } from "./zygote-process.ts";

/** How long an order that found no room waits. */
const retryMs = 100;
/** Messages taken before others have their turn. */
const wordsAtOnceMax = 256;

export class Zygotes {
  readonly #host: ZygoteHost;
  #places: Place[];
  #timer: NodeJS.Timeout | null = null;

  /** `from`: what the image before left. */
  constructor(host: ZygoteHost, from: readonly Place[] = []) {
    this.#host = host;
    this.#places = [...from];
  }

  /** From here on the zygotes are listened to. */
  resume(): void {
    for (const place of this.#places) if (place.zygote !== null) this.#watch(place, place.zygote);
    this.#arm();
  }

  /** False: the caller starts the worker itself. */
  order(order: ZygoteOrder): boolean {
    const place = this.#placeFor(order);
    if (place.zygote === null && place.reason === null) this.#start(place, order.launch);
    if (place.reason !== null) return false;
    const { id, slot, generation } = order;
    place.orders.push({ id, slot, generation, sentAt: null, connection: null, captured: null });
    sendOrders(place, this.#host);
    this.#arm();
    return true;
  }

  /** Takes in what has been said: a worker may speak elsewhere before the news of its birth was read here. */
  listen(): void {
    for (const place of [...this.#places]) this.#hear(place);
  }

  /** A child was reaped: true if it was a zygote. */
  died(pid: Pid, how: string): boolean {
    const place = this.#places.find(({ zygote }) => zygote?.pid === pid);
    if (place?.zygote == null) return false;
    place.zygote.end = how;
    place.zygote.lingerUntil ??= this.#host.now() + lingerMs;
    this.#hear(place);
    this.#settle(place);
    this.#host.changed();
    return true;
  }

  /** Ends the zygotes of all other generations. Their orders come back as `unspawned`, or as workers that were faster. */
  keep(generations: ReadonlySet<Generation>): void {
    for (const place of [...this.#places]) if (!generations.has(place.generation)) this.#retire(place);
  }

  /** Of the wanted generation. A zygote that died is replaced when it is needed: until then nothing has changed. */
  status(generation: Generation): { progress: "loading" | "active" | "off"; reason: string | null } {
    const place = this.#places.find((other) => other.generation === generation && !other.retired);
    if (place?.reason != null) return { progress: "off", reason: place.reason };
    if (place !== undefined && (place.zygote?.loaded || (place.zygote === null && place.deaths > 0)))
      return { progress: "active", reason: null };
    return { progress: "loading", reason: "still loading" };
  }

  /** The pids of zygotes that live. */
  pids(): Pid[] {
    return this.#places.flatMap(({ zygote }) => (zygote !== null && zygote.end === null ? [zygote.pid] : []));
  }

  /** Who waits for a fork. */
  orders(): number[] {
    return this.#places.flatMap(({ orders }) => orders.map(({ id }) => id));
  }

  toState(): readonly Place[] {
    return this.#places;
  }

  /** At the master's end. */
  kill(): void {
    for (const pid of this.pids()) this.#host.kill(pid);
  }

  #placeFor(order: ZygoteOrder): Place {
    const key = this.#host.key(order.launch);
    const found = this.#places.find((place) => place.generation === order.generation && !place.retired);
    const fits = found?.key === key && (found.zygote === null || found.zygote.places >= this.#host.socketCount());
    if (found !== undefined && fits) return found;
    if (found !== undefined) this.#retire(found);
    const place = newPlace(order.generation, key);
    this.#places.push(place);
    return place;
  }

  #start(place: Place, launch: Launch): void {
    try {
      place.zygote = this.#host.start(launch);
      this.#watch(place, place.zygote);
    } catch (error) {
      const { code, syscall, message } = error as NodeJS.ErrnoException;
      place.reason = code === undefined ? message : `the zygote cannot be started: ${syscall} failed with ${code}`;
    }
  }

  #watch(place: Place, zygote: Zygote): void {
    if (!zygote.silent) watch(zygote.fd, { readable: true }, () => this.#hear(place));
  }

  #hear(place: Place): void {
    let count = 0;
    for (; count < wordsAtOnceMax; count++) {
      const { zygote } = place;
      if (zygote === null || zygote.silent) break;
      const word = hear(zygote.fd);
      if (word === null) break;
      zygote.heardAt = this.#host.now();
      if (word.kind === "end") this.#end(place, zygote);
      else obey(place, zygote, word, this.#host);
    }
    if (count === 0) return;
    sendOrders(place, this.#host);
    this.#arm();
    this.#host.changed();
  }

  #end(place: Place, zygote: Zygote): void {
    unwatch(zygote.fd);
    zygote.silent = true;
    zygote.lingerUntil ??= this.#host.now() + lingerMs;
    if (zygote.end === null) this.#host.kill(zygote.pid);
    this.#settle(place);
  }

  #retire(place: Place): void {
    if (place.retired) return;
    place.retired = true;
    if (place.zygote === null) this.#places = this.#places.filter((other) => other !== place);
    else if (place.zygote.end === null) this.#host.kill(place.zygote.pid);
    const waiting = place.orders.filter(({ sentAt }) => sentAt === null);
    place.orders = place.orders.filter(({ sentAt }) => sentAt !== null);
    for (const { id } of waiting) this.#cancel(id);
  }

  #cancel(id: number): void {
    this.#host.deliver({ kind: "unspawned", id, errno: "ECANCELED", syscall: "fork" });
  }

  /** Once nothing more can come from a zygote: who waits for a fork is served in another way. */
  #settle(place: Place): void {
    const { zygote } = place;
    if (zygote === null || !isOver(zygote, this.#host.now())) return;
    unwatch(zygote.fd);
    closeSync(zygote.fd);
    place.zygote = null;
    const { orders } = place;
    place.orders = [];
    for (const { connection } of orders) if (connection !== null) closeSync(connection);
    if (place.retired) {
      this.#places = this.#places.filter((other) => other !== place);
      for (const { id } of orders) this.#cancel(id);
      return;
    }
    if (zygote.loaded) place.deaths += 1;
    place.reason = judge(place, zygote);
    if (place.reason === null)
      this.#host.log("error", `The zygote ${zygote.end ?? "closed its connection"}; the next worker starts another`);
    for (const { id, slot, generation } of orders) {
      const launch = this.#host.launchOf(generation);
      if (launch === undefined) this.#cancel(id);
      else if (!this.order({ id, slot, generation, launch })) this.#host.execute({ id, slot, generation, launch });
    }
  }

  /** One timer for whatever is due first. */
  #arm(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const now = this.#host.now();
    const due = this.#places
      .map((place) => (isStuck(place) ? now + retryMs : dueAt(place)))
      .filter((at) => at !== null);
    if (due.length === 0) return;
    this.#timer = setTimeout(() => this.#lookAround(), Math.max(0, Math.min(...due) - now) + 1);
  }

  #lookAround(): void {
    const now = this.#host.now();
    for (const place of [...this.#places]) {
      if (isStuck(place)) sendOrders(place, this.#host);
      const at = dueAt(place);
      if (place.zygote === null || at === null || at > now) continue;
      if (place.zygote.lingerUntil === null) {
        const what = place.zygote.loaded ? "the zygote does not answer" : "the zygote does not finish loading";
        condemn(place, what, this.#host);
        place.zygote.lingerUntil = now + lingerMs;
      } else this.#settle(place);
    }
    this.#arm();
    this.#host.changed();
  }
}
