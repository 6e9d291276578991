/**
 * `-m notify`: the socket that workers tell about themselves by sd_notify(3). One abstract datagram socket for the master's
 * life, so that the NOTIFY_SOCKET of a worker from before a re-exec goes on to mean us.
 *
 * Who sent a datagram, the kernel says (SCM_CREDENTIALS); only a worker, or what one started, is heard. What systemd keeps for
 * its services beyond that (FDSTORE, MAINPID, RELOADING, ...) has no meaning here; descriptors that come along are closed,
 * which is also the answer that BARRIER=1 waits for.
 */

import { closeSync } from "node:fs";
import type { Millis, Pid } from "../core/model.ts";
import { families, unixAddress } from "./addresses.ts";
import { now as monotonicMs } from "./clock.ts";
import { native } from "./native.ts";
import { unwatch, watch } from "./reactor.ts";

const sockDatagram = 2;
const solSocket = 1;
const soPassCred = 16;
const soReceiveBufferForce = 33;
const receiveBufferBytes = 1 << 20;
/** systemd's own limit for a message (NOTIFY_BUFFER_MAX, notify-recv.c); a longer one is no message. */
export const noticeBytesMax = 4096;
/** Taken before others have their turn. */
const noticesAtOnceMax = 64;
const statusCharsMax = 500;
/** EXTEND_TIMEOUT_USEC beyond this is taken as this. */
const extendMsMax = 24 * 3600 * 1000;
const reportEveryMs = 1_000;

/** Plain data: it goes through a re-exec. */
export interface NotifySocket {
  fd: number;
  /** For NOTIFY_SOCKET: "@" and a name in the abstract namespace (unix(7)). */
  name: string;
}

/** What one datagram says; what is not said is absent. */
export interface Notice {
  ready?: true;
  stopping?: true;
  watchdog?: true;
  status?: string;
  extendMs?: Millis;
}

/** Inheritable, so that the next image has it. */
export function openNotifySocket(): NotifySocket {
  const random = Math.random().toString(36).slice(2);
  const name = `@einhorn/${process.pid}-${random}`;
  const fd = native.socket({ family: families.AF_UNIX, type: sockDatagram });
  try {
    native.setNonBlocking({ fd, nonBlocking: true });
    native.setSocketOption({ fd, level: solSocket, name: soPassCred, value: 1 });
    native.bind({ fd, address: unixAddress(name) });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  try {
    // A thousand workers may start at once; without CAP_NET_ADMIN the system's standard has to do.
    native.setSocketOption({ fd, level: solSocket, name: soReceiveBufferForce, value: receiveBufferBytes });
  } catch {
    // Senders wait then until there is room (sd_notify blocks).
  }
  return { fd, name };
}

export interface NotifyHandlers {
  /** The worker that this process is or descends from; null for a stranger. */
  workerOf(pid: Pid): Pid | null;
  notice(worker: Pid, notice: Notice): void;
  /** A datagram from somebody else, or one that is too long; at most once a second, with how many there were before. */
  refused(o: { pid: Pid; uid: number; others: number }): void;
}

/** Hands on what is sent, until `unwatch`. */
export function watchNotices({ fd }: NotifySocket, handlers: NotifyHandlers): void {
  const buffer = Buffer.alloc(noticeBytesMax + 1);
  let reportedAt = Number.NEGATIVE_INFINITY;
  let others = 0;
  watch(fd, { readable: true }, () => {
    for (let count = 0; count < noticesAtOnceMax; count++) {
      const message = receive(fd, buffer);
      if (message === null) return;
      const { length, pid, uid, fds } = message;
      const worker = length > noticeBytesMax ? null : handlers.workerOf(pid);
      if (worker !== null) handlers.notice(worker, readNotice(buffer.toString("utf8", 0, length)));
      // After the message has had its effect: the sender may wait for this (sd_notify_barrier(3)).
      for (const passed of fds) closeSync(passed);
      if (worker !== null) continue;
      const now = monotonicMs();
      if (now - reportedAt >= reportEveryMs) {
        reportedAt = now;
        handlers.refused({ pid, uid, others });
        others = 0;
      } else others++;
    }
  });
}

/** Null where nothing is to be had now. ENOMEM, ENOBUFS: what was sent is still there, and the reactor comes again. */
function receive(fd: number, buffer: Uint8Array): ReturnType<typeof native.receive> {
  try {
    return native.receive({ fd, buffer });
  } catch {
    return null;
  }
}

export function closeNotifySocket({ fd }: NotifySocket): void {
  unwatch(fd);
  closeSync(fd);
}

/** Lines of NAME=VALUE; of what is said twice the last counts; what we have no meaning for is passed over. */
export function readNotice(text: string): Notice {
  const notice: Notice = {};
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    const value = line.slice(at + 1);
    switch (line.slice(0, Math.max(0, at))) {
      case "READY":
        if (value === "1") notice.ready = true;
        break;
      case "STOPPING":
        if (value === "1") notice.stopping = true;
        break;
      case "WATCHDOG":
        if (value === "1") notice.watchdog = true;
        break;
      case "STATUS":
        notice.status = value.replace(/\p{Cc}/gu, " ").slice(0, statusCharsMax);
        break;
      case "EXTEND_TIMEOUT_USEC":
        if (/^\d{1,20}$/.test(value)) notice.extendMs = Math.min(Number(value) / 1000, extendMsMax);
        break;
    }
  }
  return notice;
}
