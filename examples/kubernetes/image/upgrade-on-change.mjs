// upgrade-on-change.mjs DIRECTORY SOCKET: runs `einhornsh upgrade` whenever a mounted ConfigMap has changed.
//
// The kubelet writes a new version into a directory of its own and then renames the link `..data` to point there, so that readers see
// all files change at once. That rename is what we watch.
import { spawnSync } from "node:child_process";
import fs from "node:fs";

const [directory, socket] = process.argv.slice(2);
const version = () => fs.readlinkSync(`${directory}/..data`);
let current = version();

function upgradeIfChanged() {
  const latest = version();
  if (latest === current) return;
  console.error(`${directory} changed: asking for an upgrade`);
  const upgrade = spawnSync("einhornsh", ["-d", socket, "upgrade"], { stdio: "inherit" });
  // Refused or failed: the workers keep the old settings and einhornsh has said why. Asking again would not change that.
  if (upgrade.status !== 0) console.error(`the upgrade ended with ${upgrade.status ?? upgrade.signal}`);
  current = latest;
}

fs.watch(directory, upgradeIfChanged);
// A watch can lose events (inotify(7)); this finds what it lost.
setInterval(upgradeIfChanged, 10_000);
process.on("SIGTERM", () => process.exit(0));
