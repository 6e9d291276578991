/** What a value from outside must not contain, whatever it was written in. */

/** Nesting that no honest request reaches. */
export const maxDepth = 16;

/** Names that mean something to JavaScript's objects: never a setting's name, and not worth the risk. */
const forbiddenKeys: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

/** What is wrong with this value, as a sentence; null when nothing is. */
export function faultOf(value: unknown, depth = 0): string | null {
  if (typeof value !== "object" || value === null) return null;
  if (depth >= maxDepth) return `Nested deeper than ${maxDepth}`;
  for (const key of Object.keys(value)) {
    if (forbiddenKeys.has(key)) return `The key "${key}" is not accepted`;
    const found = faultOf((value as Record<string, unknown>)[key], depth + 1);
    if (found !== null) return found;
  }
  return null;
}
