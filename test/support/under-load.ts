/**
 * A load that ends with its test, passed or failed: its connections would keep the process alive. With the short pause it asks some
 * thousand times a second, and leaves the processors to what is tested.
 */
import type { TestContext } from "node:test";
import { type Load, type LoadOptions, startLoad } from "./load.ts";

export function underLoad(t: TestContext, options: LoadOptions): Load {
  const load = startLoad({ pauseMs: 2, ...options });
  t.after(() => load.stop());
  return load;
}
