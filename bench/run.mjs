#!/usr/bin/env node
/**
 * `npm run bench [-- ROW...] [--quick] [--runs 9] [--peers einhorn,tini] [--out DIR]`: installs the peers, runs them and einhorn side by side
 * on the same work, prints the tables, and writes bench.json, bench-tables.md and bench.svg to DIR (.cache/bench). A whole run with
 * `--out docs` also writes the figures that README.md quotes.
 * Every figure is to be read as a ratio within one run: the machine decides about the rest.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cache, compile, compileCache, node, root } from "./lib.mjs";
import { install, peers } from "./peers.mjs";
import { figures, judge, markdown, svg, text } from "./report.mjs";
import { crash, probe, siege } from "./rows/faults.mjs";
import { memory, nodes, wakeups } from "./rows/idle.mjs";
import { age } from "./rows/long.mjs";
import { orphans } from "./rows/pid1.mjs";
import { commands, queues, scale } from "./rows/scale.mjs";
import { fill, respawn, shell, start } from "./rows/start.mjs";
import { pace, upgrade } from "./rows/upgrade.mjs";

const rows = {
  ...{ start, shell, probe, fill, respawn, memory, nodes, wakeups, commands, scale, orphans, queues, upgrade, pace },
  ...{ crash, siege, age },
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    peers: { type: "string" },
    runs: { type: "string" },
    out: { type: "string", default: cache },
  },
});
const chosen = positionals.length > 0 ? positionals : Object.keys(rows);
const unknown = chosen.filter((name) => !(name in rows));
if (unknown.length > 0) {
  console.error(`bench: no row is called ${unknown.join(", ")}; there are ${Object.keys(rows).join(", ")}`);
  process.exit(2);
}

execFileSync(process.execPath, [join(root, "bundle", "build.mjs")], { stdio: ["ignore", "ignore", "inherit"] });
compile();
compileCache(node);
const missing = install(options.peers?.split(",") ?? null);
const notes = [];
const note = (line) => {
  notes.push(line);
  console.error(`bench: ${line}`);
};
for (const [name, reason] of missing) if (reason !== null) note(`${name} is left out: ${reason}`);
const runs = options.runs === undefined ? (options.quick ? 3 : 7) : Number(options.runs);
const context = { peers, missing, runs, quick: options.quick, note };

const machine = {
  node: execFileSync(node, ["-p", "process.version"], { encoding: "utf8" }).trim(),
  kernel: release(),
  cpus: `${cpus().length} x ${cpus()[0]?.model}`,
};
mkdirSync(options.out, { recursive: true });
const tables = [];

/** After every row: an interrupted run leaves what it has. */
function save() {
  const write = (file, content) => writeFileSync(join(options.out, file), content);
  write("bench.json", `${JSON.stringify({ machine, tables, notes }, null, 2)}\n`);
  write("bench-tables.md", `${tables.map(markdown).join("\n\n")}\n`);
  write("bench.svg", svg(tables));
}

for (const name of chosen) {
  try {
    for (const table of await rows[name](context)) {
      tables.push({ row: name, ...judge(table) });
      console.log(`\n${text(tables.at(-1))}`);
    }
  } catch (error) {
    note(`${name}: ${error.stack}`);
  }
  save();
}

/** README.md quotes a whole run that went to docs/, and nothing else. */
if (resolve(options.out) === join(root, "docs") && chosen.length === Object.keys(rows).length) {
  const readme = join(root, "README.md");
  const quote = /(<!-- figures[^>]*-->\n)[\s\S]*(<!-- end of figures -->)/;
  writeFileSync(
    readme,
    readFileSync(readme, "utf8").replace(quote, (_, from, to) => `${from}${figures(tables)}\n${to}`),
  );
}

const missed = tables.filter(({ verdict }) => verdict?.ok === false);
console.log(
  `\n${tables.length} tables, ${missed.length} bars missed${missed.map(({ title }) => `\n  ${title}`).join("")}`,
);
process.exit(0);
