/** Finds the master: looks where system/files.ts may have put its command socket. */
import { readlinkSync } from "node:fs";
import { Client } from "../control/client.ts";
import { abstractPlace, baseName, directories, namespaceNumber } from "../core/places.ts";
import { UserError } from "../errors.ts";
import type { Invocation } from "./arguments.ts";
import { commandNames } from "./commands.ts";

type Target = Pick<Invocation, "commandName" | "nameWasGuessed" | "socketPath">;

/** In the order in which to try. */
export function placesFor(target: Target, env: NodeJS.ProcessEnv): string[] {
  if (target.socketPath !== null) return [target.socketPath];
  if (target.commandName === null && env.EINHORN_SOCK_PATH) return [env.EINHORN_SOCK_PATH];
  const paths = directories(env.TMPDIR).map((directory) => `${directory}/${baseName(target.commandName)}.sock`);
  // An abstract socket bears this container's number. The directories can be shared with others: Kubernetes gives all
  // containers of a pod one /dev/shm.
  return [abstractPlace(target.commandName, mountNamespace()), ...paths];
}

function mountNamespace(): number {
  try {
    return namespaceNumber(readlinkSync("/proc/self/ns/mnt"));
  } catch {
    return 0;
  }
}

/** Throws UserError: exit code 3 when nobody is there, 1 when we are not let in. */
export async function findMaster(target: Target, env: NodeJS.ProcessEnv): Promise<Client> {
  const places = placesFor(target, env);
  const closed: string[] = [];
  for (const place of places) {
    const result = await connect(place);
    if (result instanceof Client) return result;
    if (result !== "ENOENT" && result !== "ECONNREFUSED") closed.push(`${place}: ${result}`);
  }
  if (closed.length > 0) {
    const hint = "Run einhornsh as root or as the user that runs einhorn.";
    throw new UserError("EINHORNSH_CLOSED", `Cannot connect to ${closed.join(", ")}. ${hint}`, 1);
  }
  throw new UserError("EINHORNSH_NOBODY", absence(target, places), 3);
}

/** A master that is busy has a full backlog for a moment: that is no answer. */
async function connect(place: string): Promise<Client | string> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await Client.connect(place);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      if (code !== "EAGAIN" || attempt === 50) return code;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

function absence(target: Target, places: readonly string[]): string {
  const lines = [`No einhorn answers at ${places.join(", ")}.`];
  if (target.nameWasGuessed) {
    lines.push(
      `"${target.commandName}" was taken for a command name, since it is no command. Commands: ${commandNames.join(" ")}`,
    );
  } else lines.push("Is it running? If it was started with -c NAME or -d PATH, give einhornsh the same.");
  return lines.join("\n");
}
