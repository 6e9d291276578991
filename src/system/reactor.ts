/**
 * Who waits for which descriptor. One epoll set in the addon serves all of them; libuv never owns a descriptor of ours, so
 * they can be handed to the next image.
 */
import { native } from "./native.ts";

export interface Readiness {
  /** Also true for errors and hang-ups: the read that follows reports them. */
  readable: boolean;
  writable: boolean;
}

type Callback = (ready: Readiness) => void;

const callbacks = new Map<number, Callback>();
let connected = false;

/**
 * Calls `callback` whenever `fd` is ready for what `wanted` says, for as long as it is (level-triggered). Watching again replaces both.
 * An error that the callback throws becomes an uncaughtException; the other descriptors still have their turn.
 * Throws EPERM for a regular file (epoll_ctl(2)). `unwatch` before closing: a descriptor that was passed to a child
 * stays in the set otherwise (epoll(7), question 6).
 */
export function watch(fd: number, wanted: Partial<Readiness>, callback: Callback): void {
  if (!connected) {
    connected = true;
    native.onReady(dispatch);
  }
  const events = (wanted.readable ? 1 : 0) | (wanted.writable ? 2 : 0);
  native.watch({ fd, events });
  if (events === 0) callbacks.delete(fd);
  else callbacks.set(fd, callback);
}

/** Forgets `fd`; nothing happens if it was not watched. When nothing is watched any more the event loop may end. */
export function unwatch(fd: number): void {
  if (callbacks.delete(fd)) native.watch({ fd, events: 0 });
}

/** An earlier callback of the same round may have unwatched `fd`. */
function dispatch(fd: number, events: number): void {
  callbacks.get(fd)?.({ readable: (events & 1) !== 0, writable: (events & 2) !== 0 });
}
