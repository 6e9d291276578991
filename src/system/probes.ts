/** The documents of `--http`: what each path answers. */
import type { Sample } from "../core/figures.ts";
import type { Readiness } from "../core/views.ts";
import type { Answer } from "./http.ts";
import { json, type Response } from "./http-message.ts";

/** What the documents show, asked anew for each request. */
export interface Views {
  readiness(): Readiness;
  /** True from the first time all workers were ready. */
  started(): boolean;
  status(): unknown;
  samples(): readonly Sample[];
}

const paths = ["/livez", "/readyz", "/startupz", "/metrics", "/status"];

export function probes(views: Views): Answer {
  return (path) => {
    switch (path) {
      // That it answers is the answer: the loop turns. A master that is stopping is alive, and must not be killed for it.
      case "/livez":
        return json(200, { ok: true });
      case "/readyz": {
        const readiness = views.readiness();
        return json(readiness.ok ? 200 : 503, readiness);
      }
      case "/startupz": {
        const started = views.started();
        return json(started ? 200 : 503, { ok: started });
      }
      case "/status":
        return json(200, views.status());
      case "/metrics":
        return metrics(views);
      case "/":
        return json(200, { paths });
      default:
        return json(404, { error: "no such path", paths });
    }
  };
}

async function metrics(views: Views): Promise<Response> {
  const { render } = await import("./metrics.ts");
  return render(views.samples());
}
