/** The pod of examples/kubernetes, read from its manifests. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parse } from "yaml";
import type { PodContainer } from "./prober.ts";

export interface Container extends PodContainer {
  readonly name: string;
  readonly args: string[];
  readonly command: string[];
}

const manifests = path.resolve(import.meta.dirname, "../../examples/kubernetes");
const read = (name: string) => parse(fs.readFileSync(path.join(manifests, name), "utf8"));
export const pod: { containers: Container[]; terminationGracePeriodSeconds: number } =
  read("deployment.yaml").spec.template.spec;
export const configFiles: Record<string, string> = read("configmap.yaml").data;
export const find = (name: string): Container => {
  const found = pod.containers.find((container) => container.name === name);
  assert.ok(found, `deployment.yaml has no container ${name}`);
  return found;
};

/** The pod's two volumes on this machine, the ConfigMap's as the kubelet lays it out: files behind a link that is renamed into place. */
export class Volumes implements Disposable {
  readonly #root = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-pod-"));
  readonly config = path.join(this.#root, "config");
  readonly run = path.join(this.#root, "run");
  #version = 0;

  constructor() {
    fs.chmodSync(this.#root, 0o755);
    fs.mkdirSync(this.config);
    fs.mkdirSync(this.run);
    fs.chmodSync(this.run, 0o777);
    this.write(configFiles);
    for (const name of Object.keys(configFiles)) fs.symlinkSync(`..data/${name}`, path.join(this.config, name));
  }

  write(data: Record<string, string>): void {
    this.#version += 1;
    const directory = `..version-${this.#version}`;
    fs.mkdirSync(path.join(this.config, directory));
    for (const [name, text] of Object.entries(data)) fs.writeFileSync(path.join(this.config, directory, name), text);
    fs.symlinkSync(directory, path.join(this.config, "..data_tmp"));
    fs.renameSync(path.join(this.config, "..data_tmp"), path.join(this.config, "..data"));
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.#root, { recursive: true, force: true });
  }
}
