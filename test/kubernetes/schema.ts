/**
 * Validates Kubernetes manifests against the API's own schemas, as `kubectl apply --validate=strict` does: wrong types, missing fields and
 * fields that the API does not have.
 *
 * The schemas come compiled (npm kubernetes-models) and let unknown fields pass. A compiled schema looks at every field it knows, so it is
 * given each object through a proxy that remembers which fields were looked at: those that were not are unknown.
 */
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { HorizontalPodAutoscaler } from "kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { ConfigMap } from "kubernetes-models/v1/ConfigMap";
import { Service } from "kubernetes-models/v1/Service";

type Fields = Record<string, unknown>;

// The constructors are typed for manifests written in TypeScript; ours are read from YAML, which is what is to be checked.
const kinds = {
  ConfigMap,
  Deployment,
  HorizontalPodAutoscaler,
  PodDisruptionBudget,
  Service,
  ServiceMonitor,
} as unknown as Record<string, (new (fields: Fields) => { validate(): void }) & { apiVersion: string }>;

/** An object with a class of its own: plain ones are copied by the models' constructors, which looks at every field. */
class Watched {
  [name: string]: unknown;
}

/** What is wrong with this manifest, one sentence each; empty for a valid one. */
export function validate(manifest: Fields): string[] {
  const { apiVersion, kind, ...rest } = manifest;
  const Kind = kinds[String(kind)];
  if (!Kind || Kind.apiVersion !== apiVersion) return [`no schema for ${kind} of ${apiVersion}`];
  const unknown = new Map<object, Set<string>>();
  const paths = new Map<object, string>();

  const watched = (value: unknown, path: string): unknown => {
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.map((entry, index) => watched(entry, `${path}[${index}]`));
    const copy: Watched = new Watched();
    for (const [name, entry] of Object.entries(value)) copy[name] = watched(entry, `${path}.${name}`);
    const unseen = new Set(Object.keys(copy));
    unknown.set(copy, unseen);
    paths.set(copy, path);
    return new Proxy(copy, {
      get(target, name) {
        unseen.delete(String(name));
        return Reflect.get(target, name) as unknown;
      },
    });
  };

  const problems: string[] = [];
  try {
    // Its constructor copies the outermost fields, whatever they are; the types below are what kubectl knows of them.
    new Kind(Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, watched(value, name)]))).validate();
  } catch (error) {
    problems.push((error as Error).message);
  }
  for (const name of Object.keys(rest)) {
    if (!["metadata", "spec", "data"].includes(name)) problems.push(`unknown field ${name}`);
  }
  if (problems.length > 0) return problems;
  for (const [object, names] of unknown) {
    for (const name of names) problems.push(`unknown field ${paths.get(object)}.${name}`);
  }
  return problems;
}
