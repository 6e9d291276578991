/**
 * Users and groups by name or number, from /etc/passwd and /etc/group (passwd(5), group(5)). Containers have files, not
 * NSS; and getpwnam(3) would tie the program to one libc.
 */
import { readFileSync } from "node:fs";
import { refuseBecause } from "./refusal.ts";

/** The content of a file, or null where there is none. */
export type ReadFile = (path: string) => string | null;

export interface Account {
  uid: number;
  gid: number;
  /** What initgroups(3) would set: the group and those that list the user. */
  groups: readonly number[];
}

const passwdFile = "/etc/passwd";
const groupFile = "/etc/group";
/** (uid_t) -1 means "no change" to setuid's relatives. */
const maxId = 2 ** 32 - 2;

/** `USER[:GROUP]`, each a name or a number. Without GROUP the user's own; a number without an entry needs one. */
export function account(text: string, readFile: ReadFile = readSystemFile): Account {
  const [user = "", group, ...rest] = text.split(":");
  if (user === "" || group === "" || rest.length > 0) {
    refuseBecause(`"${text}" is not USER or USER:GROUP, such as www-data, 1000:1000 or app:staff`);
  }
  const entry = findEntry(readFile(passwdFile), user);
  const uid = idOf(user, entry?.[2], "user", passwdFile);
  const ownGid = entry?.[3] === undefined ? null : Number(entry[3]);
  const gid = group === undefined ? ownGid : groupId(group, readFile);
  if (gid === null) {
    refuseBecause(`user ${uid} has no line in ${passwdFile}, so its group must be given too, such as ${uid}:${uid}`);
  }
  const name = entry?.[0];
  return { uid, gid, groups: [...new Set([gid, ...memberships(readFile(groupFile), name)])] };
}

/** `USER[:GROUP]` as chown(1) reads it: without GROUP the group stays. */
export function owner(text: string, readFile: ReadFile = readSystemFile): { uid: number; gid: number | null } {
  const [user = "", group, ...rest] = text.split(":");
  if (user === "" || group === "" || rest.length > 0) refuseBecause(`"${text}" is not USER or USER:GROUP`);
  const uid = idOf(user, findEntry(readFile(passwdFile), user)?.[2], "user", passwdFile);
  return { uid, gid: group === undefined ? null : groupId(group, readFile) };
}

function groupId(group: string, readFile: ReadFile): number {
  return idOf(group, findEntry(readFile(groupFile), group)?.[2], "group", groupFile);
}

function idOf(text: string, found: string | undefined, kind: string, file: string): number {
  const id = Number(found ?? (/^\d{1,10}$/.test(text) ? text : Number.NaN));
  if (!(id <= maxId)) refuseBecause(`"${text}" is no ${kind} in ${file} and no number from 0 to ${maxId}`);
  return id;
}

/** The fields of the line whose name, or else whose number, is `key`. */
function findEntry(content: string | null, key: string): string[] | undefined {
  const entries = lines(content);
  return entries.find(([name]) => name === key) ?? entries.find(([, , id]) => id === key);
}

function memberships(content: string | null, name: string | undefined): number[] {
  if (name === undefined) return [];
  const groups = lines(content).filter(([, , , members]) => members?.split(",").includes(name));
  return groups.map(([, , id]) => Number(id));
}

function lines(content: string | null): string[][] {
  const entries = (content ?? "").split("\n").map((line) => line.split(":"));
  return entries.filter(([name, , id]) => name !== "" && /^\d+$/.test(id ?? ""));
}

function readSystemFile(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
