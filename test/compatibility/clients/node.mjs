// Speaks as the Node clients of Einhorn do: a whole YAML document through encodeURI, JSON back.
import net from "node:net";

if (process.ppid !== Number(process.env.EINHORN_MASTER_PID)) throw new Error("not a worker");
const [mode, ...args] = process.argv.slice(2);
const fd = process.env.EINHORN_SOCK_FD;
const socket = fd ? new net.Socket({ fd: Number(fd) }) : net.connect(process.env.EINHORN_SOCK_PATH);
const send = (yaml) => socket.write(`${encodeURI(yaml)}\n`);
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

let text = "";
socket.setEncoding("utf8");
if (mode === "ask") {
  socket.on("data", (chunk) => {
    const lines = (text + chunk).split("\n");
    text = lines.pop();
    for (const reply of lines.map((line) => JSON.parse(line))) {
      print(reply);
      if (!reply.wait) socket.destroy();
    }
  });
  send(`---\nid: 7\ncommand: ${args[0]}\nargs: ${JSON.stringify(args.slice(1))}\n`);
} else {
  socket.on("data", (chunk) => {
    text += chunk;
  });
  socket.on("end", () => print(text));
  if (mode === "ack") send(`---\ncommand: worker:ack\npid: ${process.pid}`);
  else send(`---\ncommand: worker:ping\npid: ${process.pid}\nrequest_id: a 1\n`);
  if (fd && mode === "ack") socket.destroySoon();
}
