/** A kept corpus of hostile and odd input, and each of its files with bytes changed by a fixed chance. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { Chance } from "../simulation/random.ts";
import { targets } from "./targets.ts";

const corpus = path.join(import.meta.dirname, "corpus");
const changesPerFile = 40;

function changed(bytes: Buffer, chance: Chance): Buffer {
  const result = Buffer.from(bytes);
  for (let n = 1 + chance.below(4); n > 0 && result.length > 0; n -= 1) {
    result[chance.below(result.length)] = chance.oneIn(2)
      ? chance.below(256)
      : chance.pick([0, 10, 34, 37, 38, 42, 91, 123]);
  }
  return chance.oneIn(3) ? result.subarray(0, chance.below(result.length + 1)) : result;
}

for (const [name, target] of Object.entries(targets)) {
  test(`any bytes are answered or refused in words: ${name}`, async () => {
    const files = fs.readdirSync(path.join(corpus, name));
    assert.ok(files.length > 0, "the corpus is empty");
    const chance = new Chance(1);
    for (const file of files) {
      const bytes = fs.readFileSync(path.join(corpus, name, file));
      await target(bytes);
      for (let n = 0; n < changesPerFile; n += 1) await target(changed(bytes, chance));
    }
  });
}
