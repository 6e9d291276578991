/** Trees as Docker and Kubernetes show them on v1, v2 and hybrid hosts, written down by hand and cut to what is read. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { availableCpus } from "../../src/system/cpus.ts";

const v2Mount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate";
const v1Mount = (root: string) =>
  `32 31 0:29 ${root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct`;

function cpus(files: Record<string, string>): number {
  const allowed = { "/proc/self/status": "Name:\tnode\nCpus_allowed_list:\t0-15\n" };
  return availableCpus((path) => ({ ...allowed, ...files })[path] ?? null);
}

function v2(own: string, files: Record<string, string>): Record<string, string> {
  return { "/proc/self/cgroup": `0::${own}\n`, "/proc/self/mountinfo": `${v2Mount}\n`, ...files };
}

function v1(own: string, root: string, files: Record<string, string>): Record<string, string> {
  const cgroup = `4:memory:${own}\n3:cpu,cpuacct:${own}\n1:name=systemd:${own}\n`;
  return { "/proc/self/cgroup": cgroup, "/proc/self/mountinfo": `${v1Mount(root)}\n`, ...files };
}

test("without a quota the affinity counts", () => {
  assert.equal(cpus({}), 16);
  assert.equal(cpus({ "/proc/self/status": "Cpus_allowed_list:\t0-3,8\n" }), 5);
  assert.equal(cpus({ "/proc/self/status": "Cpus_allowed_list:\t7\n" }), 1);
});

test("v2 in a container with its own cgroup namespace", () => {
  assert.equal(cpus(v2("/", { "/sys/fs/cgroup/cpu.max": "400000 100000\n" })), 4);
});

test("a fractional quota is rounded up", () => {
  assert.equal(cpus(v2("/", { "/sys/fs/cgroup/cpu.max": "250000 100000\n" })), 3);
  assert.equal(cpus(v2("/", { "/sys/fs/cgroup/cpu.max": "10000 100000\n" })), 1);
});

test("max and -1 are no quota", () => {
  assert.equal(cpus(v2("/", { "/sys/fs/cgroup/cpu.max": "max 100000\n" })), 16);
  const unlimited = { "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n" };
  assert.equal(cpus(v1("/", "/", { ...unlimited, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n" })), 16);
});

test("v2: the smallest quota on the way up wins", () => {
  const pod = "/sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice";
  const files = {
    "/sys/fs/cgroup/kubepods.slice/cpu.max": "800000 100000\n",
    [`${pod}/cpu.max`]: "200000 100000\n",
    [`${pod}/cri-1.scope/cpu.max`]: "max 100000\n",
  };
  assert.equal(cpus(v2("/kubepods.slice/kubepods-pod1.slice/cri-1.scope", files)), 2);
});

test("v1 with the container's cgroup mounted privately, and the host's path in /proc/self/cgroup", () => {
  const files = {
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000\n",
  };
  assert.equal(cpus(v1("/docker/4f1c", "/docker/4f1c", files)), 3);
  // The path lies elsewhere: the mount point is the nearest there is.
  assert.equal(cpus(v1("/docker/4f1c", "/kubepods/podX", files)), 3);
});

test("v1 on the host: own cgroup and those above it", () => {
  const files = {
    "/sys/fs/cgroup/cpu,cpuacct/system.slice/app.service/cpu.cfs_quota_us": "600000\n",
    "/sys/fs/cgroup/cpu,cpuacct/system.slice/app.service/cpu.cfs_period_us": "100000\n",
    "/sys/fs/cgroup/cpu,cpuacct/system.slice/cpu.cfs_quota_us": "500000\n",
    "/sys/fs/cgroup/cpu,cpuacct/system.slice/cpu.cfs_period_us": "100000\n",
  };
  assert.equal(cpus(v1("/system.slice/app.service", "/", files)), 5);
});

test("hybrid: the cpu controller is on v1 while v2 is mounted beside it without one", () => {
  const files = {
    "/proc/self/cgroup": "3:cpu,cpuacct:/docker/4f1c\n0::/docker/4f1c\n",
    "/proc/self/mountinfo": [
      "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs rw",
      v1Mount("/docker/4f1c"),
      "41 31 0:38 /docker/4f1c /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    ].join("\n"),
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
  };
  assert.equal(cpus(files), 2);
});

test("of several mounts the one that shows our cgroup is asked", () => {
  const files = {
    "/proc/self/cgroup": "0::/docker/inner\n",
    "/proc/self/mountinfo": [
      "40 31 0:26 /elsewhere /mnt/cg rw - cgroup2 cgroup rw",
      "41 31 0:26 / /mnt/with\\040space rw - cgroup2 cgroup rw",
    ].join("\n"),
    "/mnt/cg/cpu.max": "100000 100000\n",
    "/mnt/with space/docker/inner/cpu.max": "700000 100000\n",
  };
  assert.equal(cpus(files), 7);
});

test("a cpuset smaller than the quota wins", () => {
  const files = { "/proc/self/status": "Cpus_allowed_list:\t2-3\n", "/sys/fs/cgroup/cpu.max": "900000 100000\n" };
  assert.equal(cpus(v2("/", files)), 2);
});

test("a namespace that hides our own place asks the root it shows", () => {
  assert.equal(cpus(v2("/../other", { "/sys/fs/cgroup/cpu.max": "300000 100000\n" })), 3);
});

test("nothing readable is one CPU", () => {
  assert.equal(
    availableCpus(() => null),
    1,
  );
});

test("here", () => {
  assert.ok(availableCpus() >= 1);
});
