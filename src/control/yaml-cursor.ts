/** Where small-yaml.ts is in its text, and the questions it asks about that place. */
import { Refusal, type Scanned } from "./yaml-scalars.ts";

/** Nesting that no honest request reaches. */
export const maxDepth = 16;

export class Cursor {
  protected readonly text: string;
  protected at = 0;
  protected depth = 0;

  constructor(text: string) {
    this.text = text;
  }

  position(): string {
    const before = this.text.slice(0, this.at).split("\n");
    return `line ${before.length}, column ${(before.at(-1) ?? "").length + 1}`;
  }

  protected take(scanned: Scanned): string {
    this.at = scanned.end;
    return scanned.value;
  }

  protected deeper(): void {
    if (++this.depth > maxDepth) this.refuse(`Nested deeper than ${maxDepth}`);
  }

  protected done(): boolean {
    return this.at >= this.text.length;
  }

  protected column(): number {
    return this.at === 0 ? 0 : this.at - 1 - this.text.lastIndexOf("\n", this.at - 1);
  }

  protected afterSpace(): boolean {
    return this.at === 0 || /\s/.test(this.text[this.at - 1] ?? "");
  }

  /** Whether `char` stands here as an indicator: with white space or the end after it. */
  protected atIndicator(char: string): boolean {
    return this.text[this.at] === char && /^\s?$/.test(this.text[this.at + 1] ?? "");
  }

  protected atMarker(marker: string): boolean {
    return this.text.startsWith(marker, this.at) && this.column() === 0 && /^\s?$/.test(this.text[this.at + 3] ?? "");
  }

  protected spaces(): void {
    while (this.text[this.at] === " " || this.text[this.at] === "\t") this.at++;
  }

  /** Skips white space; returns how many line breaks that was. */
  protected blank(): number {
    let breaks = 0;
    for (; !this.done(); this.at++) {
      const char = this.text[this.at];
      if (char === "\n") breaks++;
      else if (char === "\t" && breaks > 0) this.refuse("A tab cannot indent");
      else if (char !== " " && char !== "\t") break;
    }
    return breaks;
  }

  /** Skips white space and comments. */
  protected skip(): void {
    this.blank();
    while (this.text[this.at] === "#" && this.afterSpace()) {
      while (!this.done() && this.text[this.at] !== "\n") this.at++;
      this.blank();
    }
  }

  protected endOfLine(): void {
    this.spaces();
    const char = this.text[this.at];
    if (char !== undefined && char !== "\n" && !(char === "#" && this.afterSpace())) this.refuse("Unexpected text");
  }

  protected refuse(message: string): never {
    throw new Refusal(message);
  }
}
