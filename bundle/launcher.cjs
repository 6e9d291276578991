#!/usr/bin/env node
"use strict";
/*
 * Node compiles what it runs anew at every start. So the program stands below in lines that are comments to Node, and is
 * loaded from here: with what compile-cache.cjs left beside this file, where that was made of this very program by this very
 * Node, and compiled as ever where it was not. (bundle/build.mjs puts the parts together.)
 */
const { readFileSync, statSync } = require("node:fs");
const { Script } = require("node:vm");

/* name -> {line, hash, comment}: `comment` is a function without code, whose text holds that of the section. */
const sections = {};
const cacheFile = `${__filename}.${process.version}.cache`;

/* What V8 would not notice: that the program is another of the same length, or this another build of the same version. */
const heading = () => `${sections.program.hash} ${process.arch} ${statSync(process.execPath).size}\n`;

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

function load({ line, comment }, cachedData) {
  const text = comment.toString();
  const code = text.slice(text.indexOf("\n"), text.lastIndexOf("\n")).replaceAll("\n//", "\n");
  return new Script(`(function (exports, require, module, __filename, __dirname, library) {${code}\n})`, {
    filename: __filename,
    lineOffset: line - 1,
    cachedData,
  });
}

function run(script, itsModule) {
  script.runInThisContext()(itsModule.exports, require, itsModule, __filename, __dirname, library);
  return itsModule.exports;
}

function library(name) {
  return run(load(sections[name]), { exports: {} });
}

/* SECTIONS */

const program = load(sections.program, cached());
if (require.main === module) run(program, module);
else module.exports = { program, run: () => run(program, module), cacheFile, heading };
