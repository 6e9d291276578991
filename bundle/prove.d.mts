/** What is not proved of the binaries in `dist`/<binary>/, one sentence each; empty when all is. */
export function prove(options?: {
  dist?: string;
  targets?: Record<string, string>;
  provedUnder?: Record<string, string[]>;
}): string[];
