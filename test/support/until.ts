import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits until `check` gives true. Fails after `limitMs` with what was waited for and what `describe` says of the state then: a hanging test
 * tells nothing.
 */
export async function until(
  what: string,
  check: () => boolean | Promise<boolean>,
  describe: () => string | Promise<string> = () => "",
  { limitMs = 60_000, everyMs = 100 } = {},
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms for: ${what}\n${await describe()}`);
    await sleep(everyMs);
  }
}
