/** Every option: its names, what its value looks like, its one line of help, and how it is read. */
import type { Option } from "./option.ts";
import { ownOptions } from "./own-options.ts";
import { upstreamOptions } from "./upstream-options.ts";

export type { Context, Option } from "./option.ts";

export const table: readonly Option[] = [...upstreamOptions, ...ownOptions];
