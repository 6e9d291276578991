// Stands in for node:child_process in the bundles: the addon starts and reaps every process (ARCHITECTURE.md).
module.exports = {};
