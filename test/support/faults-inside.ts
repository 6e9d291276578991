/** Crashes of a master from inside: a folder that holds the means, for NODE_OPTIONS to load and for the test to order by. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const fixtures = path.resolve(import.meta.dirname, "../fixtures");

export class FaultsInside {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    fs.copyFileSync(path.join(fixtures, "crashes-on-command.cjs"), path.join(folder, "crashes-on-command.cjs"));
    const library = path.join(folder, "faults.so");
    execFileSync("gcc", ["-shared", "-fPIC", "-O0", "-o", library, path.join(fixtures, "faults.c")]);
  }

  /** For the master, which finds the folder as `seenAs` and may remove a file from it. */
  env(seenAs: string): Record<string, string> {
    return {
      NODE_OPTIONS: `--require ${seenAs}/crashes-on-command.cjs`,
      CRASH_FILE: `${seenAs}/crash`,
      FAULT_LIBRARY: `${seenAs}/faults.so`,
    };
  }

  /** "throw", "reject", "abort", or a real fault: "fault SIGSEGV", SIGBUS, SIGILL, SIGFPE. */
  order(way: string): void {
    const file = path.join(this.#folder, "crash");
    fs.writeFileSync(`${file}.new`, way);
    fs.renameSync(`${file}.new`, file);
  }
}
