/** `-b ADDR`: TARGET[,OPT...] to a Bind. */
import type { Bind } from "../options.ts";
import { owner, type ReadFile } from "./accounts.ts";
import { endpoint, isIPv6, socketPath } from "./address.ts";
import { nearest } from "./nearest.ts";
import { refuse, refuseBecause } from "./refusal.ts";
import { count, octal, wholeNumber } from "./values.ts";

type Kind = Bind["target"]["kind"];

interface Flag {
  /** Short and other forms of the same. */
  alias?: string;
  /** What stands after "="; null: the flag takes no value. */
  value: string | null;
  kinds: readonly Kind[];
  set(bind: Bind, value: string, readFile: ReadFile | undefined): unknown;
}

const ip: readonly Kind[] = ["tcp", "udp"];
const all: readonly Kind[] = ["tcp", "udp", "unix", "fd", "fd-name"];

const flags: Readonly<Record<string, Flag>> = {
  // r and n are upstream's. SO_REUSEADDR is on anyway; the flag stays so that upstream's command lines work.
  so_reuseaddr: { alias: "r", value: null, kinds: ip, set: (bind) => (bind.reuseAddress = true) },
  o_nonblock: { alias: "n", value: null, kinds: all, set: (bind) => (bind.nonBlocking = true) },
  queues: { value: "N|per-worker", kinds: ip, set: (bind, value) => (bind.queues = queues(value)) },
  v6only: { value: null, kinds: ip, set: (bind) => (bind.v6Only = v6Only(bind)) },
  backlog: { value: "N", kinds: ["tcp", "unix"], set: (bind, value) => (bind.backlog = count(value)) },
  nodelay: { value: null, kinds: ["tcp"], set: (bind) => (bind.noDelay = true) },
  defer_accept: {
    value: "S",
    kinds: ["tcp"],
    set: (bind, value) => (bind.deferAcceptS = wholeNumber(value, 1, 86_400)),
  },
  fastopen: { value: "N", kinds: ["tcp"], set: (bind, value) => (bind.fastOpen = count(value)) },
  freebind: { value: null, kinds: ip, set: (bind) => (bind.freeBind = true) },
  mode: { value: "0660", kinds: ["unix"], set: (bind, value) => (bind.mode = octal(value)) },
  owner: { value: "U[:G]", kinds: ["unix"], set: (bind, value, readFile) => (bind.owner = owner(value, readFile)) },
  name: { value: "NAME", kinds: all, set: (bind, value) => (bind.name = fdName(value)) },
};

/** Reads one address. Refuses with what is wrong and what is allowed. */
export function readBind(text: string, readFile?: ReadFile): Bind {
  const [targetText = "", ...options] = text.split(",");
  const target = readTarget(targetText);
  const bind: Bind = {
    text,
    target,
    reuseAddress: target.kind === "tcp" || target.kind === "udp",
    nonBlocking: false,
    queues: null,
    v6Only: null,
    backlog: null,
    noDelay: false,
    deferAcceptS: null,
    fastOpen: null,
    freeBind: false,
    mode: null,
    owner: null,
    name: null,
  };
  for (const option of options) setFlag(bind, option, readFile);
  return bind;
}

function readTarget(text: string): Bind["target"] {
  if (text.startsWith("unix:")) return { kind: "unix", path: socketPath(text.slice(5)) };
  if (text.startsWith("udp:")) return { kind: "udp", ...endpoint(text.slice(4), false) };
  if (text.startsWith("fd:")) return readDescriptor(text.slice(3));
  return { kind: "tcp", ...endpoint(text, true) };
}

function readDescriptor(text: string): Bind["target"] {
  if (!/^\d+$/.test(text)) return { kind: "fd-name", name: fdName(text) };
  const fd = wholeNumber(text, 0, 2 ** 31 - 1);
  if (fd < 3) refuseBecause(`descriptor ${fd} is stdin, stdout or stderr; adopted sockets are 3 or above`);
  return { kind: "fd", fd };
}

function setFlag(bind: Bind, text: string, readFile: ReadFile | undefined): void {
  const [word = "", ...values] = text.split("=");
  const name = word.toLowerCase();
  const [key, flag] = Object.entries(flags).find(([long, { alias }]) => name === long || name === alias) ?? [];
  if (key === undefined || flag === undefined) refuseFlag(text, name);
  const value = values.join("=");
  if (flag.value === null && values.length > 0) refuseBecause(`the bind option ${key} takes no value`);
  if (flag.value !== null && value === "") refuseBecause(`the bind option ${key} needs a value: ${key}=${flag.value}`);
  if (!flag.kinds.includes(bind.target.kind)) {
    refuseBecause(
      `the bind option ${key} is for ${flag.kinds.join(" and ")} sockets, not for ${bind.text.split(",")[0]}`,
    );
  }
  flag.set(bind, value, readFile);
}

function refuseFlag(text: string, name: string): never {
  const known = Object.entries(flags).map(([long, { alias, value }]) => {
    const names = alias === undefined ? long : `${alias}|${long}`;
    return value === null ? names : `${names}=${value}`;
  });
  const near = nearest(name, Object.keys(flags));
  const hint = near === null ? "" : ` (did you mean ${near}?)`;
  return refuseBecause(`"${text}" is no bind option${hint}; known: ${known.join(", ")}`);
}

function queues(text: string): number | "per-worker" {
  return text.toLowerCase() === "per-worker" ? "per-worker" : wholeNumber(text, 1, 1024, ' or "per-worker"');
}

function v6Only(bind: Bind): true {
  const target = bind.target;
  const isV4 = "host" in target && !isIPv6(target.host) && /^[\d.]+$/.test(target.host);
  return isV4 ? refuseBecause("the bind option v6only is for IPv6 addresses") : true;
}

/** systemd.socket(5) FileDescriptorName=: ASCII without control characters and ":", at most 255. */
function fdName(text: string): string {
  return /^[ -9;-~]{1,255}$/.test(text)
    ? text
    : refuse(text, 'a name: 1 to 255 printable ASCII characters without ":"');
}

/** Refuses two binds of one address. Port 0 is a new one each time. */
export function refuseDuplicates(binds: readonly Bind[]): void {
  const seen = new Map<string, Bind>();
  for (const bind of binds) {
    const identity = identify(bind.target);
    const first = seen.get(identity);
    if (first !== undefined) refuseBecause(`${first.text} and ${bind.text} are the same address; give it once`);
    const isPicked = "port" in bind.target && bind.target.port === 0;
    if (!isPicked) seen.set(identity, bind);
  }
}

function identify(target: Bind["target"]): string {
  switch (target.kind) {
    case "tcp":
    case "udp":
      return `${target.kind}:${target.host.toLowerCase()}:${target.port}`;
    case "unix":
      return `unix:${target.path}`;
    case "fd":
      return `fd:#${target.fd}`;
    case "fd-name":
      return `fd:${target.name}`;
  }
}
