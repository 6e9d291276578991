/** Reads IP addresses and ports, without node:net, which is slow to load and does nothing else for us here. */
import { refuse, refuseBecause } from "./refusal.ts";
import { wholeNumber } from "./values.ts";

export interface Endpoint {
  host: string;
  port: number;
}

export function isIPv4(text: string): boolean {
  const parts = text.split(".");
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

/** RFC 4291 section 2.2, with a zone ("%eth0", RFC 4007) at the end or none. */
export function isIPv6(text: string): boolean {
  const [address = "", zone, ...rest] = text.split("%");
  if (zone === "" || rest.length > 0) return false;
  const halves = address.split("::");
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === "" ? [] : half.split(":")));
  const last = groups.at(-1) ?? "";
  const hasIPv4 = last.includes(".");
  if (hasIPv4 && (!isIPv4(last) || address.endsWith("::"))) return false;
  const hex = hasIPv4 ? groups.slice(0, -1) : groups;
  if (!hex.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false;
  const length = hex.length + (hasIPv4 ? 2 : 0);
  return halves.length === 2 ? length <= 7 : length === 8;
}

/** `IPv4:PORT` or `[IPv6]:PORT`, and `HOST:PORT` where `names` are allowed. Refuses with what is wrong. */
export function endpoint(text: string, names: boolean): Endpoint {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]+)):([^:]*)$/.exec(text);
  if (match === null) {
    if (isIPv6(text.slice(0, text.lastIndexOf(":"))))
      refuseBecause(`${text}: an IPv6 address is put in brackets, such as [::1]:8080`);
    refuse(text, names ? "IPv4:PORT, [IPv6]:PORT or HOST:PORT" : "IPv4:PORT or [IPv6]:PORT");
  }
  const [, v6, host = v6 ?? "", portText = ""] = match;
  const port = wholeNumber(portText, 0, 65_535, " (the port)");
  if (v6 !== undefined && !isIPv6(v6)) refuse(v6, "an IPv6 address");
  if (v6 === undefined && !isIPv4(host)) {
    // inet_aton's short forms ("127.1", "0x7f.1") surprise more than they help.
    const isName = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/i.test(host);
    if (!names || !isName || /^[\d.]+$/.test(host))
      refuse(host, names ? "an IPv4 address or a host name" : "an IP address");
  }
  return { host, port };
}

/** sun_path of unix(7), less its final NUL. */
const maxPathBytes = 107;

/** The path of a UNIX socket; "@name" is an abstract one. */
export function socketPath(text: string): string {
  if (text === "" || text === "@" || text.includes("\0")) refuse(text, "the path of a socket");
  const length = Buffer.byteLength(text);
  if (length > maxPathBytes)
    refuseBecause(`the path ${text} is ${length} bytes long, ${maxPathBytes} is the most (unix(7))`);
  return text;
}

/** `--http`: `IP:PORT` or `unix:PATH`. */
export function httpAddress(text: string): Endpoint | { path: string } {
  if (text.startsWith("unix:")) return { path: socketPath(text.slice("unix:".length)) };
  return endpoint(text, false);
}
