/** The end of what one worker wrote to its stderr, for the report of its death. */

/** With what the log says around it, it still is one line of the log (system/log.ts). */
const bytesMax = 2048;
const linesMax = 10;

export class LastWords {
  #bytes: Buffer;

  constructor(from: Buffer = Buffer.alloc(0)) {
    this.#bytes = from;
  }

  /** Takes a copy. */
  add(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes.subarray(-bytesMax)]).subarray(-bytesMax);
  }

  bytes(): Buffer {
    return this.#bytes;
  }

  /** Null where there are none. No control characters but line ends and tabs: it is shown on terminals. */
  text(): string | null {
    const whole = this.#bytes.length < bytesMax;
    const lines = printable(this.#bytes.toString()).split("\n");
    // Its beginning was cut off.
    if (!whole && lines.length > 1) lines.shift();
    const kept = lines.map((line) => line.trimEnd()).filter((line) => line !== "");
    return kept.length === 0 ? null : kept.slice(-linesMax).join("\n");
  }
}

/** Without colours and cursor movements (ECMA-48, 5.4), and without what else could command a terminal. */
function printable(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
      .replace(/\u001b\[[0-?]*[ -/]*[@-~]/g, "")
      .replace(/\r\n?/g, "\n")
      .replace(/(?![\n\t])\p{Cc}/gu, "")
  );
}
