/**
 * Bytes in, lines out. A line that came whole is handed out where it lies in the caller's buffer; only what must wait for
 * more is copied, so thousands of requests in one read cost one read.
 */

const newline = 0x0a;
const nothing = Buffer.alloc(0);

export class LineBuffer {
  #bytes: Buffer = nothing;
  #start = 0;
  #end = 0;
  /** No line break before this: a slow client's bytes are looked at once. */
  #searched = 0;
  /** `#bytes` belongs to the caller, until settle(). */
  #borrowed = false;

  /** Bytes not yet taken as lines. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Adds `chunk`, which may be used again after settle(). */
  push(chunk: Buffer): void {
    if (this.length === 0) {
      this.#bytes = chunk;
      this.#start = this.#searched = 0;
      this.#end = chunk.length;
      this.#borrowed = true;
      return;
    }
    this.settle();
    if (this.#end + chunk.length > this.#bytes.length) this.#grow(this.length + chunk.length);
    chunk.copy(this.#bytes, this.#end);
    this.#end += chunk.length;
  }

  /** The next whole line without its line break, or null. It is valid until push() or settle(). */
  next(): Buffer | null {
    const at = this.#find();
    if (at < 0) return null;
    const line = this.#bytes.subarray(this.#start, at);
    this.#start = this.#searched = at + 1;
    return line;
  }

  hasLine(): boolean {
    return this.#find() >= 0;
  }

  /** Lets go of the caller's buffer and of memory that is not needed. */
  settle(): void {
    if (this.length === 0) {
      this.#bytes = nothing;
      this.#start = this.#end = this.#searched = 0;
      this.#borrowed = false;
    } else if (this.#borrowed) this.#grow(this.length);
  }

  clear(): void {
    this.#start = this.#searched = this.#end;
    this.settle();
  }

  /** What is left, for the next image. */
  rest(): Buffer {
    return Buffer.from(this.#bytes.subarray(this.#start, this.#end));
  }

  #find(): number {
    if (this.#searched >= this.#end) return -1;
    const at = this.#bytes.indexOf(newline, this.#searched);
    if (at >= 0 && at < this.#end) {
      this.#searched = at;
      return at;
    }
    this.#searched = this.#end;
    return -1;
  }

  /** Moves what is left to the front of a buffer of our own with room for `bytes`, and for as much again. */
  #grow(bytes: number): void {
    const own = Buffer.allocUnsafeSlow(Math.max(256, bytes * 2));
    const length = this.#bytes.copy(own, 0, this.#start, this.#end);
    this.#searched -= this.#start;
    this.#bytes = own;
    this.#start = 0;
    this.#end = length;
    this.#borrowed = false;
  }
}
