/** Runs contenders in turn, so that whatever disturbs the machine disturbs all of them. */
export async function inTurn(runs, contenders, note) {
  const values = {};
  for (let run = 0; run < runs; run++) {
    for (const [name, measure] of Object.entries(contenders)) {
      if (values[name] === null) continue;
      try {
        const value = await measure();
        values[name] ??= [];
        values[name].push(value);
      } catch (error) {
        note(`${name}: ${error.message}`);
        values[name] = null;
      }
    }
  }
  return Object.fromEntries(Object.entries(values).filter(([, list]) => list !== null));
}

/** The supervisors of `names` that are here, each as a contender. */
export function contenders(context, names, measure) {
  const here = names.filter((name) => !context.missing.has(name) && name in context.peers);
  return Object.fromEntries(here.map((name) => [name, () => measure(context.peers[name])]));
}
