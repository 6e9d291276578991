/** Splits one string into words as sh(1) would, with quotes and backslashes, without any expansion. */
import { refuseBecause } from "./refusal.ts";

/** Refuses an unfinished quote. "" and '' are empty words. */
export function shellSplit(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let i = 0; i < text.length; ) {
    const char = text.charAt(i);
    if (/\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
      i += 1;
      continue;
    }
    const piece = nextPiece(text, i);
    word = (word ?? "") + piece.text;
    i = piece.end;
  }
  if (word !== null) words.push(word);
  return words;
}

/** A quoted run, an escaped character or one plain character. */
function nextPiece(text: string, start: number): { text: string; end: number } {
  const char = text.charAt(start);
  if (char === "\\") return { text: text.charAt(start + 1), end: start + 2 };
  if (char !== "'" && char !== '"') return { text: char, end: start + 1 };
  // In double quotes a backslash escapes only $ ` " \ and the end of a line (POSIX.1 Shell 2.2.3).
  const pattern = char === "'" ? /'([^']*)'/y : /"((?:[^"\\]|\\[\s\S])*)"/y;
  pattern.lastIndex = start;
  const match = pattern.exec(text);
  if (match === null) refuseBecause(`has a ${char} that is never closed`);
  const inner = match[1] ?? "";
  return { text: char === "'" ? inner : inner.replace(/\\([$`"\\\n])/g, "$1"), end: pattern.lastIndex };
}
