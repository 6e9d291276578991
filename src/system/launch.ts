/** Where workers start from: directory, environment, limits, as einhorn itself was started. */
import { readFileSync, realpathSync } from "node:fs";
import type { Launch } from "../core/model.ts";
import { UserError } from "../errors.ts";
import type { Options } from "../options.ts";
import { readEnvFile } from "./env-file.ts";
import { native } from "./native.ts";
import { withoutHold } from "./signals.ts";
import { rlimitNofile } from "./spawner.ts";

/** What workers are started from: where the code is now, even if it is reached over a link that moves with a release. */
export function readLaunch(options: Options, cwd: string): Launch {
  const { chdir, envFile } = options.worker;
  const folder = chdir ?? cwd;
  let real: string;
  try {
    real = realpathSync(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UserError(
      "EINHORN_NO_DIRECTORY",
      `The working directory ${folder} cannot be entered: ${code}. Create it, or name another with --chdir.`,
    );
  }
  const env = withoutHold(process.env as Record<string, string>);
  return { argv: options.program, cwd: real, env: envFile === null ? env : { ...env, ...readEnvFile(envFile) } };
}

/** The working directory by the name that the shell gave it, links unresolved, so that an upgrade finds where they lead by then. */
export function logicalCwd(): string {
  const cwd = process.cwd();
  const { PWD } = process.env;
  try {
    return PWD?.startsWith("/") && realpathSync(PWD) === cwd ? PWD : cwd;
  } catch {
    return cwd;
  }
}

/** Parent and child had the same limits unless Node raised ours; where the parent cannot be read, what we have is what we know. */
export function originalNofile(): { soft: number; hard: number } | null {
  try {
    const ours = native.getResourceLimit({ resource: rlimitNofile });
    const line = /^Max open files\s+(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${process.ppid}/limits`, "utf8"));
    if (line === null || Number(line[2]) !== ours.hard) return null;
    return { soft: Number(line[1]), hard: ours.hard };
  } catch {
    return null;
  }
}

export function setNice(nice: number): void {
  try {
    native.setPriority({ pid: 0, nice });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UserError(
      "EINHORN_NICE",
      `--nice: the priority cannot be set to ${nice}: ${code}. Lower numbers need root or CAP_SYS_NICE.`,
    );
  }
}
