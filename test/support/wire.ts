/** The command socket as any client may speak it: one line of JSON there, one or more lines of JSON back. */
import net from "node:net";

export interface Reply {
  readonly message: string;
  readonly wait?: boolean;
  readonly error?: boolean;
  readonly data?: unknown;
}

/** Sends one request; resolves with the reply that says it is the last. `progress` gets the ones before it. */
export function ask(path: string, request: object, progress: (reply: Reply) => void = () => {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(path);
    let text = "";
    socket.setEncoding("utf8");
    socket.on("error", reject);
    socket.on("connect", () => socket.write(`${JSON.stringify({ id: 1, ...request })}\n`));
    socket.on("data", (more: string) => {
      text += more;
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const reply = JSON.parse(text.slice(0, end)) as Reply;
        text = text.slice(end + 1);
        if (reply.wait) progress(reply);
        else {
          socket.destroy();
          return resolve(reply);
        }
      }
    });
    socket.on("close", () => reject(new Error("the master closed the connection without a last reply")));
  });
}

/** Sends bytes as they are, and resolves with all that comes back until the master closes the connection. */
export function sendRaw(path: string, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = net.connect(path, () => socket.end(bytes));
    socket.setEncoding("utf8");
    socket.on("error", reject);
    socket.on("data", (more: string) => {
      text += more;
    });
    socket.on("close", () => resolve(text));
  });
}
