/** PID 1 of a container whose processes leave orphans. */
import { execFileSync } from "node:child_process";
import { programs } from "../lib.mjs";
import { inits } from "../peers.mjs";
import { inTurn } from "./shared.mjs";

/** A PID namespace of its own, where the init is PID 1 and the maker of orphans its child. */
function orphansOf(init, count) {
  const command = ["-pf", "--mount-proc", ...init.start([programs.tool, "orphans", `${count}`])];
  const output = execFileSync("unshare", command, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return JSON.parse(
    output
      .trim()
      .split("\n")
      .find((line) => line.startsWith("{")),
  );
}

export async function orphans(context) {
  const tables = [];
  for (const count of context.quick ? [10_000] : [10_000, 100_000]) {
    const runs = count > 10_000 ? Math.min(3, context.runs) : context.runs;
    const here = Object.entries(inits).filter(([name]) => !context.missing.has(name));
    const measured = await inTurn(
      runs,
      Object.fromEntries(here.map(([name, init]) => [name, () => orphansOf(init, count)])),
      context.note,
    );
    const values = (read) => Object.fromEntries(Object.entries(measured).map(([name, list]) => [name, list.map(read)]));
    tables.push(
      {
        title: `CPU of PID 1 for ${count} orphans`,
        unit: "ms",
        values: values((r) => r.cpuNs / 1e6),
        reference: "tini",
        bar: { of: "tini", atMost: 2 },
      },
      {
        title: `most children of PID 1 at a time, ${count} orphans`,
        unit: "",
        values: values((r) => r.most),
        reference: "tini",
        bar: { of: "tini", atMost: 3 },
      },
      {
        title: `orphans left of ${count}`,
        unit: "",
        values: values((r) => r.left),
        reference: null,
        bar: { atMost: 0 },
      },
    );
  }
  return tables;
}
