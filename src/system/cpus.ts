/**
 * How many CPUs this container may use (`-n auto`): what affinity allows, and no more than the CFS quota of our cgroup
 * or of any above it, rounded up. cpuset limits are part of the affinity that the kernel shows.
 *
 * Sources: proc(5) Cpus_allowed_list, proc_pid_mountinfo(5), cgroups(7), the kernel's cgroup-v2.rst (cpu.max) and
 * sched-bwc.rst (cpu.cfs_quota_us).
 */
import { existsSync, readFileSync } from "node:fs";

/** The content of a file, or null where there is none to be read. */
export type ReadFile = (path: string) => string | null;

interface Mount {
  /** The directory of the hierarchy that is mounted here: in a container often its own cgroup, not "/". */
  root: string;
  point: string;
}

/** At least 1. Never fails: what cannot be read does not limit. */
export function availableCpus(read: ReadFile = readSystemFile): number {
  const readFile = readOnce(read);
  const quota = Math.ceil(Math.min(quotaV2(readFile), quotaV1(readFile)));
  const allowed = countAllowed(readFile("/proc/self/status") ?? "");
  const cpus = Math.min(quota, allowed);
  return Number.isFinite(cpus) ? Math.max(1, cpus) : 1;
}

/** CPUs in "Cpus_allowed_list: 0-3,8". Infinity where the line is missing. */
function countAllowed(status: string): number {
  const list = /^Cpus_allowed_list:\s*([\d,-]+)/m.exec(status)?.[1];
  if (list === undefined) return Number.POSITIVE_INFINITY;
  let count = 0;
  for (const range of list.split(",")) {
    const [first, last] = range.split("-").map(Number);
    if (first !== undefined) count += (last ?? first) - first + 1;
  }
  return count;
}

/** cpu.max holds "QUOTA PERIOD" in µs or "max PERIOD"; every ancestor's holds for us too. */
function quotaV2(readFile: ReadFile): number {
  const own = ownPath(readFile, "");
  const mount = own === null ? null : findMount(readFile, "cgroup2", null, own);
  if (own === null || mount === null) return Number.POSITIVE_INFINITY;
  return smallestAlong(mount, own, (directory) => {
    const [quota, period] = (readFile(`${directory}/cpu.max`) ?? "").trim().split(" ");
    return share(quota, period);
  });
}

/** A quota of -1 is none. Here too an ancestor's holds for us. */
function quotaV1(readFile: ReadFile): number {
  const own = ownPath(readFile, "cpu");
  const mount = own === null ? null : findMount(readFile, "cgroup", "cpu", own);
  if (own === null || mount === null) return Number.POSITIVE_INFINITY;
  return smallestAlong(mount, own, (directory) =>
    share(readFile(`${directory}/cpu.cfs_quota_us`)?.trim(), readFile(`${directory}/cpu.cfs_period_us`)?.trim()),
  );
}

function share(quota: string | undefined, period: string | undefined): number {
  const cpus = Number(quota) / Number(period);
  return Number.isFinite(cpus) && cpus > 0 ? cpus : Number.POSITIVE_INFINITY;
}

/** Asks every directory from our cgroup up to the mount point, as far as they are visible from here. */
function smallestAlong(mount: Mount, own: string, quotaAt: (directory: string) => number): number {
  let smallest = quotaAt(mount.point);
  const visible = below(mount.root, own);
  // Outside of the mounted part (a container's private mount of its cgroup, seen without a cgroup namespace):
  // the mount point is the nearest there is.
  if (visible === null) return smallest;
  for (let path = visible; path !== ""; path = path.slice(0, path.lastIndexOf("/"))) {
    smallest = Math.min(smallest, quotaAt(mount.point + path));
  }
  return smallest;
}

/** `path` seen from `root`: "" is the root itself; null when it is not below. */
function below(root: string, path: string): string | null {
  const trimmed = path === "/" ? "" : path;
  if (root === "/") return trimmed;
  if (trimmed === root) return "";
  return trimmed.startsWith(`${root}/`) ? trimmed.slice(root.length) : null;
}

/** Our path in the hierarchy of `controller`; "" is v2, whose line in /proc/self/cgroup is "0::PATH". */
function ownPath(readFile: ReadFile, controller: string): string | null {
  for (const line of (readFile("/proc/self/cgroup") ?? "").split("\n")) {
    const [id, controllers, ...rest] = line.split(":");
    const fits = controller === "" ? id === "0" && controllers === "" : controllers?.split(",").includes(controller);
    if (!fits) continue;
    const path = rest.join(":");
    // "/../x" is how a cgroup namespace shows a place above its own root: nothing of it is visible here.
    return path.startsWith("/..") ? "/" : path;
  }
  return null;
}

/** The mount of that type, for v1 of the hierarchy that has `controller`: one that shows `own`, else the first. */
function findMount(readFile: ReadFile, type: string, controller: string | null, own: string): Mount | null {
  const mounts: Mount[] = [];
  for (const line of (readFile("/proc/self/mountinfo") ?? "").split("\n")) {
    if (!line.includes(" - cgroup")) continue;
    const [left, right] = line.split(" - ");
    const [fsType, , superOptions] = (right ?? "").split(" ");
    const [, , , root, point] = (left ?? "").split(" ");
    if (fsType !== type || root === undefined || point === undefined) continue;
    if (controller !== null && !superOptions?.split(",").includes(controller)) continue;
    mounts.push({ root: unescapeMount(root), point: unescapeMount(point).replace(/\/$/, "") });
  }
  return mounts.find((mount) => below(mount.root, own) !== null) ?? mounts[0] ?? null;
}

/** Space, tab, newline and backslash are octal escapes in mountinfo. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Some are asked for by both versions. */
function readOnce(read: ReadFile): ReadFile {
  const contents = new Map<string, string | null>();
  return (path) => {
    const content = contents.get(path);
    if (content !== undefined) return content;
    contents.set(path, read(path));
    return contents.get(path) ?? null;
  };
}

function readSystemFile(path: string): string | null {
  // Most quotas are not there, and an exception costs ten times this question.
  if (!existsSync(path)) return null;
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
