/** A value that is not allowed. Whoever knows where it was written makes the operator's message of it. */
export class Refusal extends Error {}

/** Refuses `text`, saying what is allowed: `"0" is not a whole number from 1 to 10000`. */
export function refuse(text: string, allowed: string): never {
  throw new Refusal(`${JSON.stringify(text)} is not ${allowed}`);
}

/** Refuses with a sentence of its own. */
export function refuseBecause(reason: string): never {
  throw new Refusal(reason);
}
