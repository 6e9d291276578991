/** What is wrong with the compiled object `file`, one sentence each; empty when nothing is. */
export function check(file: string): string[];
