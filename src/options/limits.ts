/** `--rlimit NAME=SOFT[:HARD]`, as setrlimit(2) takes it. */
import { refuse, refuseBecause } from "./refusal.ts";
import { bytes, unlimited } from "./values.ts";

export interface Limit {
  resource: number;
  soft: number;
  hard: number;
}

/** Numbers of asm-generic/resource.h, which x86-64 and arm64 share. */
const resources: Readonly<Record<string, number>> = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
};

/** Without HARD both are set, as Docker's --ulimit and systemd's Limit...= do. */
export function limit(text: string): Limit {
  const [, name = "", softText = "", hardText] = /^([^=]*)=([^:]*)(?::(.*))?$/.exec(text) ?? [];
  if (name === "") refuse(text, "NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024:4096 or core=unlimited");
  const resource = resources[name.toLowerCase().replace(/^rlimit_/, "")];
  if (resource === undefined) refuseBecause(`"${name}" is no resource; known: ${Object.keys(resources).join(", ")}`);
  const soft = amount(softText);
  const hard = hardText === undefined ? soft : amount(hardText);
  if (hard !== unlimited && (soft === unlimited || soft > hard)) {
    refuseBecause(`the soft limit ${softText} is above the hard limit ${hardText}`);
  }
  return { resource, soft, hard };
}

function amount(text: string): number {
  if (text === "unlimited" || text === "infinity") return unlimited;
  return bytes(text) ?? refuse(text, 'a limit: "unlimited", or a whole number with an optional K, M or G');
}
