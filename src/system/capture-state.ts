/** What one image leaves for the next of the pipes that workers have as stderr (capture.ts), whole or in parts. */
import { fstatSync } from "node:fs";
import type { Pid } from "../core/model.ts";
import type { Change, Parts } from "./journal.ts";

/** What its parts are called in the file for a crash. */
export const part = "capture/";

export interface CaptureState {
  pipes: readonly PipeState[];
  /** Read, and not written yet; base64. */
  rest: string;
}

export interface PipeState {
  /** Never given twice, unlike descriptors. */
  id: number;
  /** Null once nobody can write to it any more: the words wait for the report of the death. */
  fd: number | null;
  /** The descriptor's number may be another's after a crash. */
  inode: number;
  /** Null while it is not known, and once the worker is dead. */
  pid: Pid | null;
  /** Base64; a crash does not keep it. Null: nobody will ask any more. */
  words: string | null;
}

export const captureFds = (state: CaptureState | null): number[] => state?.pipes.flatMap(({ fd }) => fd ?? []) ?? [];

/** The state as parts of the file for a crash. */
export function captureParts({ pipes, rest }: CaptureState): Change[] {
  return [[`${part}rest`, rest], ...pipes.map((pipe): Change => [`${part}${pipe.id}`, pipe])];
}

/** What the parts say, without the pipes that have been closed since: their numbers may be somebody else's by now. */
export function captureFrom(parts: Parts): CaptureState {
  const named = [...parts].filter(([name]) => name.startsWith(part) && name !== `${part}rest`);
  const pipes = named.map(([, value]) => value as PipeState).filter(isStillOpen);
  return { pipes, rest: String(parts.get(`${part}rest`) ?? "") };
}

function isStillOpen({ fd, inode }: PipeState): boolean {
  if (fd === null) return false;
  try {
    const stat = fstatSync(fd);
    return stat.isFIFO() && stat.ino === inode;
  } catch {
    return false;
  }
}
