/**
 * The addon, and where its files are. The only file that loads it.
 *
 * A bundle has `einhorn.node` beside it (an image for one architecture) or in `linux-<arch>/` (the npm package); from source
 * it is what `npm run build` left in dist/. One binary serves glibc and musl, so nothing but the architecture chooses.
 */
import { existsSync } from "node:fs";
import type { Native } from "../../native/einhorn-native.d.ts";
import { UserError } from "../errors.ts";

const here = import.meta.dirname;
const target = `linux-${process.arch}`;
/** Not by node:path: V8 would compile its normalize() for them, half a millisecond of every start. */
const folders = [here, `${here}/${target}`, `${here}/../../dist`];

/** Where the addon was loaded from. */
let place: string | null = null;

/** Loads the addon, or explains: an explanation is thrown by the first use, so that --help needs no addon. */
export const native: Native = load();

/**
 * The preload object that holds signals over a re-exec (native/hold-signals.c), or null where it was not shipped. That beside the addon
 * comes first: one in another folder may be for another architecture.
 */
export const holdSignalsPath: string | null =
  process.env.EINHORN_HOLD_SIGNALS ??
  [...(place === null ? [] : [place]), ...folders].map((folder) => `${folder}/hold-signals.so`).find(existsSync) ??
  null;

function load(): Native {
  const override = process.env.EINHORN_ADDON;
  const files = override ? [override] : folders.map((folder) => `${folder}/einhorn.node`);
  const tried: string[] = [];
  for (const file of files) {
    try {
      const module = { exports: {} };
      process.dlopen(module, file);
      place = file.slice(0, file.lastIndexOf("/"));
      return module.exports as Native;
    } catch (error) {
      tried.push(`  ${file}: ${existsSync(file) ? (error as Error).message : "no such file"}`);
    }
  }
  const error = new UserError("EINHORN_ADDON_MISSING", explanation(tried, override !== undefined), 1);
  return new Proxy({} as Native, {
    get() {
      throw error;
    },
  });
}

function explanation(tried: readonly string[], overridden: boolean): string {
  const problem = `einhorn's native addon cannot be loaded on ${process.platform}-${process.arch} (Node ${process.version}).`;
  return [problem, "Tried:", ...tried, "Possible solutions:", ...solutions(tried.join("\n"), overridden)].join("\n");
}

function solutions(tried: string, overridden: boolean): string[] {
  if (process.platform !== "linux") return ["  - einhorn needs Linux: run it in a container."];
  const list: string[] = [];
  if (overridden) list.push("  - EINHORN_ADDON is set: let it name an einhorn.node, or unset it.");
  if (process.arch !== "x64" && process.arch !== "arm64") {
    list.push(
      `  - There is no ready-made addon for ${process.arch}: build it with \`npx node-gyp rebuild -C native\`.`,
    );
  } else {
    list.push(`  - Copy the whole dist/ folder: the addon must be beside the bundle, or in ${target}/ beside it.`);
    list.push("  - In a checkout of einhorn: npm run build.");
  }
  if (/invalid ELF header|wrong ELF class|Exec format|cannot open shared object/.test(tried)) {
    list.push(`  - The file is for another architecture: take dist/${target}/ (docker build --platform).`);
  }
  if (/failed to map segment|Operation not permitted/.test(tried)) {
    list.push("  - The file system is mounted noexec: put einhorn's files on one that is not.");
  }
  return list;
}
