/** The parts of prom-client that metrics.ts loads by themselves, with the types of the whole. */
declare module "prom-client/lib/registry.js" {
  import type { Registry } from "prom-client";

  const value: typeof Registry;
  export default value;
}
declare module "prom-client/lib/gauge.js" {
  import type { Gauge } from "prom-client";

  const value: typeof Gauge;
  export default value;
}
declare module "prom-client/lib/counter.js" {
  import type { Counter } from "prom-client";

  const value: typeof Counter;
  export default value;
}
