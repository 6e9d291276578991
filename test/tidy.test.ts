/** The rules of ARCHITECTURE.md and CONTRIBUTING.md, kept by machine. Each failure names what to use instead. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { describe, test } from "node:test";

const root = join(import.meta.dirname, "..");

function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

const sources = filesBelow("src", ".ts");
const read = (file: string) => readFileSync(join(root, file), "utf8");

/** Local imports of a file, relative to the root; `types` leaves out those that are types alone. */
function imports(file: string, kind: "all" | "values" = "all"): string[] {
  const pattern = /^(?:import|export)\s+(type\s)?[^;]*?from\s+"([^"]+)"|import\("([^"]+)"\)/gm;
  return [...read(file).matchAll(pattern)].flatMap(([, typeOnly, from, lazy]) => {
    if (kind === "values" && typeOnly) return [];
    const target = from ?? lazy ?? "";
    return target.startsWith(".") ? [normalize(join(dirname(file), target))] : [target];
  });
}

/** Fails with every breach at once. */
function forbid(breaches: readonly string[], instead: string): void {
  assert.deepEqual(breaches, [], instead);
}

const inFolder = (folder: string) => sources.filter((file) => file.startsWith(`src/${folder}/`));

describe("dependencies", () => {
  test("core/ imports only core/", () => {
    const breaches = inFolder("core").flatMap((file) =>
      imports(file)
        .filter((target) => !target.startsWith("src/core/"))
        .map((target) => `${file} imports ${target}`),
    );
    forbid(breaches, "the core decides on plain data: pass what it needs in an event, let an effect do the rest");
  });

  test("control/ knows the kernel only by the contract it is given", () => {
    const breaches = inFolder("control").flatMap((file) =>
      imports(file)
        // The time is the same for everybody, and passing it would say nothing.
        .filter((target) => target !== "src/system/clock.ts")
        .filter((target) => /^src\/(system|options)\//.test(target) || target === "src/master.ts")
        .map((target) => `${file} imports ${target}`),
    );
    forbid(breaches, "add what you need to control/contract.ts and let master.ts pass it");
  });

  test("system/ never imports control/ or the master", () => {
    const breaches = inFolder("system").flatMap((file) =>
      imports(file)
        .filter((target) => target.startsWith("src/control/") || /^src\/(master|main|supervisor)\.ts$/.test(target))
        .map((target) => `${file} imports ${target}`),
    );
    forbid(breaches, "system/ does one thing of the kernel's each; join parts in master.ts");
  });

  test("the supervisor sees core/ and the ports alone", () => {
    const breaches = imports("src/supervisor.ts").filter(
      (target) => !target.startsWith("src/core/") && target !== "src/ports.ts",
    );
    forbid(breaches, "add it to Ports: the simulator must be able to stand in for it");
  });

  test("only system/native.ts loads the addon", () => {
    const breaches = sources.filter(
      (file) => file !== "src/system/native.ts" && /process\.dlopen|\.node"/.test(read(file)),
    );
    forbid(breaches, "import { native } from system/native.ts");
  });

  test("node:child_process is not used", () => {
    const breaches = sources.filter((file) =>
      imports(file).some((target) => /^(node:)?(child_process|cluster|worker_threads)$/.test(target)),
    );
    forbid(breaches, "use system/spawner.ts and system/processes.ts: libuv's own waiting steals exits");
  });

  test("nobody imports main.ts", () => {
    const breaches = sources.filter((file) => imports(file).includes("src/main.ts"));
    forbid(breaches, "move what you need out of main.ts");
  });
});

/** Programs of their own, and the library for workers: not the master. */
const notTheMaster = /^src\/(einhornsh\.ts|shell\/|worker\.ts|control\/client\.ts)/;

describe("house rules", () => {
  test("the master never touches process.stdout, process.stderr or console", () => {
    const breaches = sources.filter(
      (file) => !notTheMaster.test(file) && /process\.std(out|err)\b(?!:)|console\./.test(code(file)),
    );
    forbid(breaches, "use system/log.ts, or writeSync: libuv makes shared pipes non-blocking");
  });

  test("nobody uses the global performance, which node loads at its first use", () => {
    const breaches = sources.filter((file) => /\bperformance\./.test(code(file)));
    forbid(breaches, "use now() of system/clock.ts: 3 ms in which a new image answers nobody");
  });

  test("only main.ts and einhornsh end the process", () => {
    const breaches = sources.filter(
      (file) => file !== "src/main.ts" && !notTheMaster.test(file) && /process\.(exit|abort)\(/.test(code(file)),
    );
    forbid(breaches, "give the effect `exit`, or throw a UserError");
  });

  test("the core has no clock and no chance of its own", () => {
    const breaches = inFolder("core").filter((file) =>
      /\bDate\.|\bDate\(\)|Math\.random|performance|process\./.test(code(file)),
    );
    forbid(breaches, "take `now` as an argument; random() of core/turn.ts is seeded by the state");
  });

  test("private fields of Node are not read", () => {
    const breaches = sources.filter((file) => /\._handle\b/.test(code(file)));
    forbid(breaches, "descriptors are ours from the addon; nothing has to be dug out of Node");
  });

  test("no test is left out", () => {
    const tests = filesBelow("test", ".test.ts");
    const breaches = tests.filter((file) => /\b(?:test|describe|it)\.(?:skip|only|todo)\(|\bskip: /.test(code(file)));
    forbid(breaches, "a test that cannot run is a failure to mend");
  });

  test("the core's tests have the paths of what they test", () => {
    const breaches = filesBelow("test/core", ".test.ts").filter(
      (file) => !existsSync(join(root, file.replace(/^test/, "src").replace(".test.ts", ".ts"))),
    );
    forbid(breaches, "name the test after its source");
  });

  test("files stay small", () => {
    const limits: [string[], number][] = [
      [sources, 380],
      [filesBelow("native", ".cc"), 250],
    ];
    const breaches = limits.flatMap(([files, lines]) =>
      files
        .filter((file) => read(file).split("\n").length > lines)
        .map((file) => `${file} has more than ${lines} lines`),
    );
    forbid(breaches, "one file, one role: split it by what it is about");
  });

  test("links in the documents lead somewhere", () => {
    const documents = [
      "README.md",
      "ARCHITECTURE.md",
      "CONTRIBUTING.md",
      ...filesBelow("docs", ".md"),
      ...filesBelow("examples", ".md"),
      "docker/README.md",
    ];
    const breaches = documents.flatMap((file) =>
      [...read(file).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)]
        .map(([, target = ""]) => normalize(join(dirname(file), target)))
        .filter((target) => !existsSync(join(root, target)))
        .map((target) => `${file} links to ${target}`),
    );
    forbid(breaches, "mend the link or write the document");
  });
});

/** The source without comments. */
function code(file: string): string {
  return read(file).replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");
}
