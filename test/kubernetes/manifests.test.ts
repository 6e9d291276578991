import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import { validate } from "./schema.ts";

const directory = path.resolve(import.meta.dirname, "../../examples/kubernetes");

type Fields = Record<string, unknown>;

const read = (name: string): Fields[] =>
  parseAllDocuments(fs.readFileSync(path.join(directory, name), "utf8"), { uniqueKeys: true }).map((document) => {
    assert.deepEqual(document.errors, [], name);
    return document.toJS();
  });

const names = fs.readdirSync(directory).filter((name) => name.endsWith(".yaml"));

for (const name of names) {
  test(`${name} is what the Kubernetes API takes`, () => {
    for (const manifest of read(name)) assert.deepEqual(validate(manifest), []);
  });
}

test("there is a manifest of every kind that the README names", () => {
  const kinds = names.flatMap((name) => read(name).map(({ kind }) => kind));
  assert.deepEqual(kinds.sort(), [
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Service",
    "ServiceMonitor",
  ]);
});

/** A copy of the Deployment with one place changed. */
function deploymentWith(change: (container: Fields, spec: Fields) => void): Fields {
  const [deployment] = structuredClone(read("deployment.yaml"));
  const spec = (deployment as { spec: { template: { spec: Fields & { containers: Fields[] } } } }).spec.template.spec;
  change(spec.containers[0] as Fields, spec);
  return deployment as Fields;
}

const mistakes: [string, Fields, RegExp][] = [
  [
    "a field in the wrong place",
    deploymentWith((container) => (container.periodSeconds = 1)),
    /unknown field spec.template.spec.containers\[0\].periodSeconds/,
  ],
  [
    "a misspelt field",
    deploymentWith((_, spec) => (spec.terminationGracePeriod = 45)),
    /unknown field spec.template.spec.terminationGracePeriod/,
  ],
  ["a wrong type", deploymentWith((_, spec) => (spec.terminationGracePeriodSeconds = "45")), /must be integer/],
  ["a missing field", deploymentWith((container) => delete container.name), /required.*name|name.*required/],
  ["an unknown API version", { ...read("deployment.yaml")[0], apiVersion: "apps/v1beta9" }, /no schema/],
];
for (const [what, manifest, message] of mistakes) {
  test(`${what} is found`, () => assert.match(validate(manifest).join("\n"), message));
}

test("the pod's times leave each other room", () => {
  const [deployment] = read("deployment.yaml") as [
    { spec: { template: { spec: { terminationGracePeriodSeconds: number; containers: { args: string[] }[] } } } },
  ];
  const pod = deployment.spec.template.spec;
  const seconds = (option: string): number =>
    Number(pod.containers[0]?.args.find((arg) => arg.startsWith(`--${option}=`))?.split("=")[1]);
  assert.ok(seconds("drain-delay") < seconds("grace-period"));
  assert.ok(seconds("grace-period") < pod.terminationGracePeriodSeconds);
});
