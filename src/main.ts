/** `einhorn`: reads argv and the environment, says what is wrong with them, and starts or resumes the master. */
import { writeSync } from "node:fs";
import { UserError } from "./errors.ts";
import { readInvocation } from "./options.ts";

async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  const invocation = await readInvocation({ argv, env: process.env, cwd: process.cwd() });
  switch (invocation.kind) {
    case "print":
      print(1, invocation.text);
      process.exit(invocation.exitCode);
      break;
    case "run": {
      const { startMaster } = await import("./start.ts");
      return startMaster(invocation.options, { argv, exit });
    }
    case "resume": {
      const { checkMaster, resumeMaster } = await import("./start.ts");
      if (!invocation.check) return resumeMaster(invocation.stateFd, { exit });
      print(1, await checkMaster(invocation.stateFd));
      process.exit(0);
    }
  }
}

/** The only way out. */
function exit(code: number): never {
  process.exit(code);
}

/** Never through process.stdout: it makes pipes that are shared with the workers non-blocking. */
function print(fd: number, text: string): void {
  try {
    writeSync(fd, text.endsWith("\n") ? text : `${text}\n`);
  } catch {
    // Nobody reads it.
  }
}

main().catch((error: unknown) => {
  if (error instanceof UserError) {
    print(2, `einhorn: ${error.message}`);
    process.exit(error.exitCode);
  }
  print(2, `einhorn: [BUG] ${error instanceof Error ? error.stack : String(error)}`);
  process.exit(70);
});
