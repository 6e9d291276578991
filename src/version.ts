/** Given by bundle/launcher.cjs. */
declare const programHash: string | undefined;

/** The release of this program; the same as in package.json (a test compares them). */
export const version = "1.0.0";
/** This very program on this Node; null where it runs from its sources, and nobody knows. */
export const build = typeof programHash === "undefined" ? null : `${programHash} ${process.version}`;
