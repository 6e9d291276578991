/** Results as text tables, Markdown and a plot. */
import { summary } from "./lib.mjs";

/** Adds to each table its summaries and whether the bar was reached. */
export function judge(table) {
  const who = table.who ?? "einhorn";
  const entries = Object.entries(table.values)
    .filter(([, values]) => values.length > 0)
    .map(([name, values]) => ({ name, ...summary(values) }));
  const find = (name) => entries.find((entry) => entry.name === name);
  const reference = find(table.reference);
  for (const entry of entries) entry.ratio = reference && reference.median > 0 ? entry.median / reference.median : null;
  const ours = find(who);
  const { bar } = table;
  let verdict = null;
  if (bar && ours) {
    const base = bar.of ? find(bar.of)?.median : 1;
    const value = ours.median / base;
    verdict = { value, ok: bar.atLeast === undefined ? value <= bar.atMost : value >= bar.atLeast, text: barText(bar) };
  }
  entries.sort((a, b) => a.median - b.median);
  return { title: table.title, unit: table.unit, who, reference: table.reference, entries, verdict };
}

function barText(bar) {
  const limit = bar.atLeast === undefined ? `at most ${bar.atMost}` : `at least ${bar.atLeast}`;
  return bar.of ? `${limit} of ${bar.of}` : limit;
}

export function number(value) {
  if (value === null || Number.isNaN(value)) return "";
  if (value >= 100) return Math.round(value).toString();
  return value >= 10 ? value.toFixed(1) : value.toFixed(2).replace(/\.00$/, "");
}

const columns = ["", "median", "min", "max", "runs", "ratio"];
const cells = (entry) => [
  entry.name,
  number(entry.median),
  number(entry.min),
  number(entry.max),
  `${entry.runs}`,
  number(entry.ratio),
];

const heading = ({ title, unit }) => (unit ? `${title} (${unit})` : title);
const judgement = ({ verdict, who }) =>
  verdict === null ? null : `${verdict.ok ? "met" : "MISSED"}: ${who} ${number(verdict.value)}, bar ${verdict.text}`;

export function text(table) {
  const rows = [columns, ...table.entries.map(cells)];
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const lines = rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  "),
  );
  return [
    heading(table),
    ...lines.map((line) => `  ${line}`),
    ...(judgement(table) ? [`  ${judgement(table)}`] : []),
  ].join("\n");
}

export function markdown(table) {
  const row = (list) => `| ${list.join(" | ")} |`;
  const body = table.entries.map((entry) =>
    row(cells(entry).map((cell, i) => (i === 0 && entry.name === table.who ? `**${cell}**` : cell))),
  );
  const rule = row(columns.map((_, i) => (i === 0 ? "---" : "---:")));
  return [
    `### ${heading(table)}`,
    "",
    row(columns),
    rule,
    ...body,
    ...(judgement(table) ? ["", judgement(table)] : []),
  ].join("\n");
}

/** What README.md quotes: the first table of these rows, our figure and everybody else's. */
const quoted = ["start", "shell", "respawn", "fill", "memory", "wakeups", "orphans"];

export function figures(tables) {
  const rows = quoted.flatMap((row) => tables.find((table) => table.row === row) ?? []);
  const lines = rows.map((table) => {
    const ours = table.entries.find(({ name }) => name === table.who);
    const others = table.entries
      .filter((entry) => entry !== ours)
      .map(({ name, median }) => `${name} ${number(median)}`);
    return `| ${heading(table)} | **${ours ? number(ours.median) : "?"}** | ${others.join(", ")} |`;
  });
  return ["| median | einhorn | beside it |", "| --- | ---: | --- |", ...lines].join("\n");
}

const escaped = (words) => words.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);

/** Bars on a logarithmic scale, one group per table: half a thousandth and a thousand both stay visible. */
export function svg(tables) {
  const shown = tables.filter(({ entries }) => entries.length > 1 && entries.every(({ median }) => median > 0));
  const [width, left, bar, gap] = [860, 270, 16, 34];
  let y = 16;
  const parts = [];
  for (const table of shown) {
    y += 14;
    parts.push(`<text x="8" y="${y}" class="title">${escaped(heading(table))}</text>`);
    y += 10;
    const low = Math.log10(Math.min(...table.entries.map(({ median }) => median))) - 0.3;
    const high = Math.log10(Math.max(...table.entries.map(({ max }) => max))) + 0.001;
    const at = (value) => left + ((Math.log10(value) - low) / (high - low)) * (width - left - 90);
    for (const { name, median, min, max } of table.entries) {
      const middle = y + bar / 2;
      const kind = name === table.who ? "ours" : name === table.reference ? "reference" : "other";
      parts.push(
        `<text x="${left - 8}" y="${middle + 4}" text-anchor="end">${escaped(name)}</text>`,
        `<rect x="${left}" y="${y + 2}" width="${(at(median) - left).toFixed(1)}" height="${bar - 4}" class="${kind}"/>`,
        ...(min > 0 ? [`<path d="M${at(min).toFixed(1)} ${middle}H${at(max).toFixed(1)}" class="range"/>`] : []),
        `<text x="${(at(max) + 6).toFixed(1)}" y="${middle + 4}">${number(median)}</text>`,
      );
      y += bar;
    }
    y += gap - 14;
  }
  const style =
    "text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold}.ours{fill:#1f883d}.other{fill:#afb8c1}.reference{fill:#6e7781}.range{stroke:#24292f}";
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}"><style>${style}</style><rect width="100%" height="100%" fill="#fff"/>\n${parts.join("\n")}\n</svg>\n`;
}
