/** How many connections wait in a listening socket, and how many may. */
import { closeSync, fstatSync } from "node:fs";
import { endianness } from "node:os";

/** What is used of the addon. */
export interface QueueSockets {
  getSocketOption(o: { fd: number; level: number; name: number; length: number }): Uint8Array;
  socket(o: { family: number; type: number; protocol?: number; private?: boolean }): number;
  setNonBlocking(o: { fd: number; nonBlocking: boolean }): void;
  write(o: { fd: number; buffer: Uint8Array }): number;
  read(o: { fd: number; buffer: Uint8Array }): number;
}

export interface Queue {
  depth: number;
  limit: number;
}

/** null where the kernel does not say: not a listening socket, or no unix_diag in this kernel. */
export function acceptQueue(sockets: QueueSockets, fd: number, family: string): Queue | null {
  try {
    return family === "AF_UNIX" ? unixQueue(sockets, fstatSync(fd).ino) : tcpQueue(sockets, fd);
  } catch {
    return null;
  }
}

const ipprotoTcp = 6;
const tcpInfo = 11;
const tcpListen = 10;

/** struct tcp_info (linux/tcp.h): of a listening socket tcpi_unacked is the queue, tcpi_sacked its limit. */
function tcpQueue(sockets: QueueSockets, fd: number): Queue | null {
  const info = view(sockets.getSocketOption({ fd, level: ipprotoTcp, name: tcpInfo, length: 104 }));
  if (info.getUint8(0) !== tcpListen) return null;
  return { depth: info.getUint32(24, isLittle), limit: info.getUint32(28, isLittle) };
}

const afNetlink = 16;
const sockRaw = 3;
const netlinkSockDiag = 4;
const sockDiagByFamily = 20;
const nlmRequest = 1;
const afUnix = 1;
const showQueueLength = 0x10;
const attributeQueueLength = 4;
const anyState = 0xffffffff;
const noCookie = 0xffffffff;

/** sock_diag(7): a unix_diag_req for one inode; UNIX_DIAG_RQLEN of a listening socket is its queue and limit. */
function unixQueue(sockets: QueueSockets, inode: number): Queue | null {
  const fd = sockets.socket({ family: afNetlink, type: sockRaw, protocol: netlinkSockDiag, private: true });
  try {
    sockets.setNonBlocking({ fd, nonBlocking: true });
    const request = view(new Uint8Array(40));
    const words = [40, sockDiagByFamily | (nlmRequest << 16), 1, 0, afUnix, anyState, inode, showQueueLength];
    for (const [index, word] of [...words, noCookie, noCookie].entries()) request.setUint32(index * 4, word, isLittle);
    sockets.write({ fd, buffer: new Uint8Array(request.buffer) });
    const buffer = new Uint8Array(1024);
    // The kernel has answered before write(2) returns.
    const length = sockets.read({ fd, buffer });
    return readUnixAnswer(view(buffer.subarray(0, Math.max(0, length))));
  } finally {
    closeSync(fd);
  }
}

/** nlmsghdr (16 bytes), unix_diag_msg (16), attributes of 4 bytes header each, aligned to 4. An nlmsgerr is no answer. */
function readUnixAnswer(answer: DataView): Queue | null {
  if (answer.byteLength < 32 || answer.getUint16(4, isLittle) !== sockDiagByFamily) return null;
  for (let at = 32; at + 12 <= answer.byteLength; ) {
    const length = answer.getUint16(at, isLittle);
    if (answer.getUint16(at + 2, isLittle) === attributeQueueLength) {
      return { depth: answer.getUint32(at + 4, isLittle), limit: answer.getUint32(at + 8, isLittle) };
    }
    at += Math.max(4, (length + 3) & ~3);
  }
  return null;
}

const isLittle = endianness() === "LE";

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
