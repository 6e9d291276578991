#!/usr/bin/env node
"use strict";
/*
 * Node compiles what it runs anew at every start. So the program stands below in lines that are comments to Node, and is
 * loaded from here: with what compile-cache.cjs left beside this file, where that was made of this very program by this very
 * Node, and compiled as ever where it was not. (bundle/build.mjs puts the parts together.)
 */
const { readFileSync, statSync } = require("node:fs");
const { Script } = require("node:vm");

/* What the program asks for by library(): name -> its code, deflated. */
const libraries = {};

const programHash = "PROGRAM_HASH";

/* What V8 would not notice: that the program is another of the same length, or this another build of the same version. */
const heading = () => `${programHash} ${process.arch} ${statSync(process.execPath).size}\n`;
const cacheFile = `${__filename}.${process.version}.cache`;

/* The file has it twice: a damaged one would end the process, and comparing is the cheapest check there is. */
function cached() {
  try {
    const file = readFileSync(cacheFile);
    const head = heading();
    const middle = (file.length + head.length) / 2;
    const first = file.subarray(head.length, middle);
    return file.latin1Slice(0, head.length) === head && first.equals(file.subarray(middle)) ? first : undefined;
  } catch {
    return undefined;
  }
}

/* Nothing of this file is held on to, so that V8 can drop its text: what loads libraries is a function of the program's. */
const prologue = `(function (exports, require, module, __filename, __dirname, libraries, programHash) {
const library = (name) => {
  const code = require("node:zlib").inflateRawSync(libraries[name]).toString();
  const module = { exports: {} };
  new Function("module", "exports", "require", code)(module, module.exports, require);
  return module.exports;
};`;

function load(comment) {
  const text = comment.toString();
  const code = text.slice(text.indexOf("\n"), text.lastIndexOf("\n")).replaceAll("\n//", "\n");
  /* The prologue has lines of its own. */
  const lineOffset = PROGRAM_LINE - prologue.split("\n").length;
  return new Script(`${prologue}${code}\n})`, { filename: __filename, lineOffset, cachedData: cached() });
}

/* PROGRAM */

const program = load(comment);
const run = () => program.runInThisContext()(exports, require, module, __filename, __dirname, libraries, programHash);
if (require.main === module) run();
else module.exports = { program, run, cacheFile, heading };
