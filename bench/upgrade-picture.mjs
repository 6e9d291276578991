/**
 * Draws docs/upgrade.svg: requests a window of time, by the generation that answered, through one smooth upgrade under load.
 * Every request is a connection of its own; one that fails in any way is drawn in red and counted in the caption.
 * `node bench/upgrade-picture.mjs` after `npm run build`.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "einhorn-picture-"));
const socket = join(folder, "s.sock");
const windowMs = 50;
const clients = 8;
const untilMs = 4000;
const upgradeAtMs = 1000;

const worker = join(folder, "worker.cjs");
writeFileSync(
  worker,
  `const { createServer } = require("node:http");
const { ack, listener, onGracefulStop } = require(${JSON.stringify(join(root, "dist/worker.cjs"))});
const server = createServer((_, response) => response.setHeader("connection", "close").end(process.env.EINHORN_GENERATION));
setTimeout(() => server.listen(listener(0), ack), 300); // A program that takes a while to start.
onGracefulStop(() => server.close(() => process.exit(0)));
`,
);

const windows = new Map();
let startedAt = 0;
let running = true;

/** The answer's generation, or "failed". */
function once(port) {
  return new Promise((resolve) => {
    const call = request({ port, host: "127.0.0.1", agent: false }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve(response.statusCode === 200 && /^\d+$/.test(text) ? text : "failed"));
      response.on("error", () => resolve("failed"));
    });
    call.on("error", () => resolve("failed"));
    call.end();
  });
}

async function client(port) {
  while (running) {
    const who = await once(port);
    const at = Math.floor((performance.now() - startedAt) / windowMs);
    const window = windows.get(at) ?? {};
    window[who] = (window[who] ?? 0) + 1;
    windows.set(at, window);
  }
}

function shell(...args) {
  const child = spawn(process.execPath, [join(root, "dist/einhornsh.cjs"), "-d", socket, ...args]);
  let text = "";
  child.stdout.on("data", (part) => (text += part));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, text })));
}

function draw(upgrade) {
  const count = Math.floor(untilMs / windowMs);
  const rows = Array.from({ length: count }, (_, index) => windows.get(index) ?? {});
  const sum = (row) => Object.values(row).reduce((total, number) => total + number, 0);
  const most = Math.max(...rows.map(sum));
  const [width, height, left, top] = [640, 200, 50, 40];
  const bar = width / count;
  const colours = { 0: "#8fa8c8", 1: "#2f6f4f", failed: "#c0392b" };
  const bars = rows.flatMap((row, index) => {
    let base = top + height;
    return ["failed", "0", "1"].map((who) => {
      const tall = ((row[who] ?? 0) / most) * height;
      base -= tall;
      return `<rect x="${(left + index * bar).toFixed(1)}" y="${base.toFixed(1)}" width="${(bar + 0.2).toFixed(1)}" height="${tall.toFixed(1)}" fill="${colours[who]}"/>`;
    });
  });
  const mark = (ms, text) => {
    const x = left + (ms / untilMs) * width;
    return `<line x1="${x}" y1="${top - 4}" x2="${x}" y2="${top + height}" stroke="#333" stroke-dasharray="3 3"/><text x="${x + 4}" y="${top - 6}">${text}</text>`;
  };
  const all = rows.reduce((total, row) => total + sum(row), 0);
  const failed = rows.reduce((total, row) => total + (row.failed ?? 0), 0);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 20} ${top + height + 60}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
${bars.filter((text) => !text.includes('height="0.0"')).join("\n")}
${mark(upgrade.from, "einhornsh upgrade")}${mark(upgrade.to, "exit 0")}
<text x="${left - 6}" y="${top + 10}" text-anchor="end">${Math.round((most * 1000) / windowMs)}/s</text>
<text x="${left}" y="${top + height + 18}">0 s</text><text x="${left + width}" y="${top + height + 18}" text-anchor="end">${untilMs / 1000} s</text>
<text x="${left}" y="${top + height + 40}">${all} requests, a connection each: <tspan fill="${colours[0]}">old workers</tspan>, <tspan fill="${colours[1]}">new workers</tspan>, <tspan fill="${colours.failed}">${failed} failed</tspan>. Four workers that take 0.3 s to start.</text>
</svg>
`;
}

const args = [
  "-b",
  "127.0.0.1:0",
  "-n",
  "4",
  "-m",
  "manual",
  "--max-unacked",
  "1",
  "-d",
  socket,
  "--",
  process.execPath,
  worker,
];
const master = spawn(process.execPath, [join(root, "dist/einhorn.cjs"), ...args], {
  stdio: ["ignore", "ignore", "inherit"],
});
try {
  while ((await shell("wait")).code === 3);
  const status = JSON.parse((await shell("--json", "status")).text);
  const { port } = (status.data ?? status).sockets[0];
  startedAt = performance.now();
  const load = Array.from({ length: clients }, () => client(port));
  await new Promise((resolve) => setTimeout(resolve, upgradeAtMs));
  const from = performance.now() - startedAt;
  const upgrade = await shell("upgrade");
  const to = performance.now() - startedAt;
  if (upgrade.code !== 0) throw new Error(`the upgrade failed: ${upgrade.text}`);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, untilMs - to)));
  running = false;
  await Promise.all(load);
  writeFileSync(join(root, "docs/upgrade.svg"), draw({ from, to }));
} finally {
  master.kill("SIGTERM");
  await new Promise((resolve) => master.on("close", resolve));
  rmSync(folder, { recursive: true });
}
