// Loaded before Jazzer.js with --require: its addon was linked against a newer glibc than Debian 12's, of which it needs three
// symbols. A copy of it does without: the versions that are missing here become optional (VER_FLG_WEAK), strtol and strtoul are those
// of always, and what GCC 13 uses to say that iostreams are initialised by the library may be absent (it is not called).
// On a machine whose glibc is new enough the copy is as good.
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require("node:fs");
const { basename, join } = require("node:path");

const tooNew = ["GLIBC_2.38", "GLIBCXX_3.4.32"];
const oldest = "GLIBC_2.2.5";
const renamed = { __isoc23_strtol: "strtol", __isoc23_strtoul: "strtoul" };
const optional = "_ZSt21ios_base_library_initv";

const open = process.dlopen;
process.dlopen = (module, file, ...rest) => {
  const isFuzzer = /^fuzzer-linux-\w+\.node$/.test(basename(file));
  return open.call(process, module, isFuzzer ? copyFor(file) : file, ...rest);
};

function copyFor(file) {
  const folder = join(__dirname, "../../.cache/fuzz");
  const copy = join(folder, basename(file));
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${copy}.${process.pid}`, adapt(readFileSync(file)));
  renameSync(`${copy}.${process.pid}`, copy);
  return copy;
}

/** ELF-64, little-endian: the sections of the dynamic symbols and their versions (elf(5); LSB Core, "Symbol Versioning"). */
function adapt(elf) {
  const sections = sectionsOf(elf);
  const one = (type) => sections.find((section) => section.type === type);
  const [symbols, versions, needs] = [one(11), one(0x6fffffff), one(0x6ffffffe)];
  const strings = sections[symbols.link];
  const textAt = (offset) => {
    const from = strings.offset + offset;
    return elf.toString("latin1", from, elf.indexOf(0, from));
  };
  let oldestIndex = 1;
  for (const { at, name } of neededVersions(elf, needs, textAt)) {
    if (tooNew.includes(name)) elf.writeUInt16LE(elf.readUInt16LE(at + 4) | 2, at + 4);
    if (name === oldest) oldestIndex = elf.readUInt16LE(at + 6);
  }
  for (let n = 0, at = symbols.offset; at < symbols.offset + symbols.size; n += 1, at += 24) {
    const name = textAt(elf.readUInt32LE(at));
    const to = renamed[name];
    if (to !== undefined) {
      const from = strings.offset + elf.readUInt32LE(at);
      elf.fill(0, from, from + name.length);
      elf.write(to, from, "latin1");
      elf.writeUInt16LE(oldestIndex, versions.offset + 2 * n);
    }
    if (name === optional) {
      elf[at + 4] = (elf[at + 4] & 15) | 0x20; // STB_WEAK
      elf.writeUInt16LE(1, versions.offset + 2 * n);
    }
  }
  return elf;
}

function sectionsOf(elf) {
  const [start, size, count] = [Number(elf.readBigUInt64LE(40)), elf.readUInt16LE(58), elf.readUInt16LE(60)];
  return Array.from({ length: count }, (_, n) => {
    const at = start + n * size;
    const number = (offset) => Number(elf.readBigUInt64LE(at + offset));
    return { type: elf.readUInt32LE(at + 4), offset: number(24), size: number(32), link: elf.readUInt32LE(at + 40) };
  });
}

/** Verneed and, in it, Vernaux: {hash u32, flags u16, index u16, name u32, next u32}. */
function neededVersions(elf, needs, textAt) {
  const found = [];
  for (let need = needs.offset, next = -1; next !== 0; need += next) {
    next = elf.readUInt32LE(need + 12);
    for (let at = need + elf.readUInt32LE(need + 8), more = -1; more !== 0; at += more) {
      more = elf.readUInt32LE(at + 12);
      found.push({ at, name: textAt(elf.readUInt32LE(at + 8)) });
    }
  }
  return found;
}
