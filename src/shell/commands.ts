/** What einhornsh knows about the master's commands: their names, and which may be asked twice. */

/** All of them, for completion and to tell a command from a command name. core/commands.ts says what they mean. */
export const commandNames: readonly string[] = [
  ...["help", "status", "state", "ready", "wait", "events", "ehlo"],
  ...["upgrade", "upgrade_fleet", "abort", "pause", "resume", "reload"],
  ...["inc", "dec", "set_workers", "signal", "die", "config", "louder", "quieter"],
];

/** Change nothing, so that they can be asked again when the connection broke. */
export const harmlessCommands: ReadonlySet<string> = new Set(["help", "status", "state", "ready", "wait", "ehlo"]);

/** Splits input into commands and words as sh(1) would: `;`, line breaks, quotes, backslashes, comments; no expansion. */
export function splitCommands(text: string): { commands: string[][] } | { error: string } {
  const commands: string[][] = [];
  let words: string[] = [];
  let word: string | null = null;
  const endWord = () => {
    if (word !== null) words.push(word);
    word = null;
  };
  const endCommand = () => {
    endWord();
    if (words.length > 0) commands.push(words);
    words = [];
  };
  const token = /[^\S\n]+|[;\n]|#[^\n]*|'[^']*'|"(?:[^"\\]|\\[\s\S])*"|\\[\s\S]|[^\s;'"\\]+|[\s\S]/g;
  for (const [piece] of text.matchAll(token)) {
    if (piece === ";" || piece === "\n") endCommand();
    else if (piece.startsWith("#") && word === null) endWord();
    else if (/^\s/.test(piece)) endWord();
    else if ((piece === "'" || piece === '"' || piece === "\\") && piece.length === 1) {
      return { error: piece === "\\" ? "Nothing follows the backslash" : `The quote ${piece} is not closed` };
    } else word = (word ?? "") + unquote(piece);
  }
  endCommand();
  return { commands };
}

/** In double quotes a backslash escapes only $ ` " \ and a line break (POSIX.1, Shell Command Language, 2.2.3). */
function unquote(piece: string): string {
  if (piece.startsWith("'")) return piece.slice(1, -1);
  if (piece.startsWith('"')) return piece.slice(1, -1).replace(/\\([$`"\\\n])/g, "$1");
  return piece.startsWith("\\") ? piece.slice(1) : piece;
}
