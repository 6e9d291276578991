/** HTTP/1 as far as probes need it (RFC 9112): a request without a body in, one response and the end of the connection out. */

export type Method = "GET" | "HEAD";

export interface Request {
  method: Method;
  /** Without the query. */
  path: string;
}

export interface Response {
  status: number;
  type: string;
  body: string;
}

/** Reads the head of a request, or gives the response that says what is wrong with it. Header fields mean nothing here. */
export function readRequest(head: string): Request | Response {
  const [, method, target] = /^(?:\r?\n)?([A-Z]+) (\S+) HTTP\/1\.\d\r?\n/.exec(head) ?? [];
  if (method === undefined || target === undefined) return problem(400, "not an HTTP/1 request");
  if (method !== "GET" && method !== "HEAD") return problem(405, "only GET and HEAD");
  // A proxy's form of the target is "http://host/path".
  const path = target.replace(/^https?:\/\/[^/?]*/i, "").split("?")[0];
  return { method, path: path || "/" };
}

/** HEAD gets the length of what GET would get. */
export function bytesOf({ status, type, body }: Response, method: Method): Buffer {
  const head = [
    `HTTP/1.1 ${status} ${reasons[status] ?? "Unknown"}`,
    `Content-Type: ${type}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Cache-Control: no-store",
    ...(status === 405 ? ["Allow: GET, HEAD"] : []),
    "Connection: close",
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${method === "HEAD" ? "" : body}`);
}

const reasons: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** A document as JSON. */
export function json(status: number, value: unknown): Response {
  return { status, type: "application/json", body: `${JSON.stringify(value)}\n` };
}

/** An error as JSON. */
export function problem(status: number, error: string): Response {
  return json(status, { error });
}
