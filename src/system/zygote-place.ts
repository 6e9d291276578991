/** What is known of one generation's zygote. Plain data: it goes through a re-exec. */
import type { Generation, Millis, Pid } from "../core/model.ts";

/** A zygote that has not loaded by then hangs: large applications take tens of seconds. */
export const loadMsMax = 120_000;
/** A fork copies page tables, some ms per GiB; a zygote that is silent for this long hangs. */
export const forkMsMax = 10_000;
/** What a dead zygote's last forks may need to end or to say that they live. */
export const lingerMs = 1_000;
/** Deaths after loading, per generation; then there is a pattern, and workers are started by exec. */
export const deathsMax = 3;

export interface Order {
  id: number;
  slot: number;
  generation: Generation;
  /** When the zygote was asked; null: not yet. */
  sentAt: Millis | null;
  /** With `-g`: our end of the worker's own connection. */
  connection: number | null;
  /** With `--capture-stderr`: the pipe that is its stderr. */
  captured: number | null;
}

export interface Zygote {
  pid: Pid;
  fd: number;
  /** Sockets that it has kept places for. */
  places: number;
  loaded: boolean;
  /** When it was started or last answered. */
  heardAt: Millis;
  /** All who could speak on its connection have closed it. */
  silent: boolean;
  /** How it ended, in words; null while it lives or is not reaped. */
  end: string | null;
  /** Dead or silent, but not both: not waited for longer than this. */
  lingerUntil: Millis | null;
}

export interface Place {
  generation: Generation;
  /** What was loaded, and with which settings. */
  key: string;
  /** Why workers are started by exec instead; null: they are not. */
  reason: string | null;
  /** Why the zygote that is ending must not have a successor. */
  verdict: string | null;
  /** Of no more use: its generation is over. */
  retired: boolean;
  deaths: number;
  zygote: Zygote | null;
  orders: Order[];
}

export function newPlace(generation: Generation, key: string): Place {
  return { generation, key, reason: null, verdict: null, retired: false, deaths: 0, zygote: null, orders: [] };
}

/** When something must have happened; null: nothing is due. */
export function dueAt({ zygote, orders }: Place): Millis | null {
  if (zygote === null) return null;
  if (zygote.lingerUntil !== null) return zygote.lingerUntil;
  if (!zygote.loaded) return zygote.heardAt + loadMsMax;
  const sent = orders.flatMap(({ sentAt }) => (sentAt === null ? [] : [sentAt]));
  return sent.length === 0 ? null : Math.max(zygote.heardAt, Math.min(...sent)) + forkMsMax;
}

/** Orders wait, and no answer is on its way that would bring them their turn: the connection had no room (ENOMEM, EAGAIN). */
export function isStuck({ zygote, orders, retired, verdict }: Place): boolean {
  const usable = zygote?.loaded && zygote.lingerUntil === null && !retired && verdict === null;
  return usable === true && orders.length > 0 && orders.every(({ sentAt }) => sentAt === null);
}

/** Nothing more can come from it: no word, no exit status. */
export function isOver(zygote: Zygote, now: Millis): boolean {
  return (zygote.silent && zygote.end !== null) || (zygote.lingerUntil !== null && now >= zygote.lingerUntil);
}

/** Why the generation goes on without a zygote, now that this one has ended; null: it gets another. */
export function judge(place: Place, zygote: Zygote): string | null {
  const how = zygote.end ?? "closed its connection";
  if (place.verdict !== null) return place.verdict;
  if (!zygote.loaded) return `the zygote ${how} while loading`;
  return place.deaths < deathsMax ? null : `the zygote died ${place.deaths} times; the last time it ${how}`;
}
