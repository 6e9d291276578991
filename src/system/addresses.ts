/** Socket addresses between text and the kernel's bytes (ip(7), ipv6(7), unix(7): struct sockaddr_in, _in6, _un). */
import { endianness, networkInterfaces } from "node:os";
import { isIPv4, isIPv6 } from "../options/address.ts";

export const families = { AF_UNIX: 1, AF_INET: 2, AF_INET6: 10 } as const;
export type Family = keyof typeof families;

/** sun_path holds 108 bytes, the last of which ends the text. */
export const unixPathBytesMax = 107;

/** A sockaddr for `ip`, which may be "fe80::1%eth0"; null if it is no address. */
export function ipAddress(ip: string, port: number): { family: Family; bytes: Uint8Array } | null {
  if (isIPv4(ip)) {
    const bytes = sockaddr(families.AF_INET, 16, port);
    bytes.set(ip.split(".").map(Number), 4);
    return { family: "AF_INET", bytes };
  }
  if (!isIPv6(ip)) return null;
  const [host = "", zone] = ip.split("%");
  const bytes = sockaddr(families.AF_INET6, 28, port);
  bytes.set(ipv6Bytes(host), 8);
  if (zone !== undefined) bytes.writeUInt32LE(zoneIndex(zone), 24);
  return { family: "AF_INET6", bytes };
}

/** For a path, or with a leading "@" for an abstract name. Throws RangeError when it is too long. */
export function unixAddress(path: string): Uint8Array {
  const abstract = path.startsWith("@");
  const text = Buffer.from(path);
  // An abstract name needs no byte for its end, so that one may fill sun_path.
  if (text.length > unixPathBytesMax + (abstract ? 1 : 0))
    throw new RangeError(`${text.length} bytes; ${unixPathBytesMax} are possible`);
  // A path ends with a zero byte; an abstract name begins with one and is as long as the address.
  const bytes = Buffer.alloc(2 + text.length + (abstract ? 0 : 1));
  writeFamily(bytes, families.AF_UNIX);
  text.copy(bytes, 2);
  if (abstract) bytes[2] = 0;
  return bytes;
}

export interface Address {
  family: Family;
  /** "127.0.0.1:80", "[::1]:80", "unix:/run/app.sock", "unix:@abstract"; "unix:" where it has no name. */
  text: string;
  host: string;
  /** Null for AF_UNIX. */
  port: number | null;
}

/** What getsockname(2) answered; null for a family that is none of ours. */
export function readAddress(bytes: Uint8Array): Address | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < 2) return null;
  const family = endianness() === "LE" ? view.readUInt16LE(0) : view.readUInt16BE(0);
  if (family === families.AF_INET && view.length >= 8) {
    const host = [...view.subarray(4, 8)].join(".");
    const port = view.readUInt16BE(2);
    return { family: "AF_INET", text: `${host}:${port}`, host, port };
  }
  if (family === families.AF_INET6 && view.length >= 24) {
    const groups = Array.from({ length: 8 }, (_, n) => view.readUInt16BE(8 + 2 * n).toString(16));
    // URL writes an address in its shortest form (RFC 5952).
    const host = new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
    const port = view.readUInt16BE(2);
    return { family: "AF_INET6", text: `[${host}]:${port}`, host, port };
  }
  if (family !== families.AF_UNIX) return null;
  const host =
    view[2] === 0 && view.length > 3 ? `@${view.toString("utf8", 3)}` : view.toString("utf8", 2).replace(/\0.*$/s, "");
  return { family: "AF_UNIX", text: `unix:${host}`, host, port: null };
}

function sockaddr(family: number, length: number, port: number): Buffer {
  const bytes = Buffer.alloc(length);
  writeFamily(bytes, family);
  bytes.writeUInt16BE(port, 2);
  return bytes;
}

function writeFamily(bytes: Buffer, family: number): void {
  if (endianness() === "LE") bytes.writeUInt16LE(family, 0);
  else bytes.writeUInt16BE(family, 0);
}

function ipv6Bytes(host: string): Uint8Array {
  // URL understands every spelling, an IPv4 tail included, and leaves only hexadecimal groups and one "::".
  const short = new URL(`http://[${host}]`).hostname.slice(1, -1);
  const [left = "", right] = short.split("::");
  const groups = (text: string) => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
  const before = groups(left);
  const after = groups(right ?? "");
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 255]));
}

/** "eth0" or "2"; 0, which the kernel refuses for a link-local address, where there is no such interface. */
function zoneIndex(zone: string): number {
  if (/^\d+$/.test(zone)) return Number(zone);
  const address = networkInterfaces()[zone]?.find(({ family }) => family === "IPv6");
  return address?.family === "IPv6" ? (address.scopeid ?? 0) : 0;
}
