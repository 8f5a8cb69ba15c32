/**
 * What built-in functions do with their arguments, for lists of any length: arguments lie on the stack, which a hundred
 * thousand of them overflow.
 */

/** The largest value; -Infinity of none, NaN where one is NaN, as `Math.max`. */
export function maxOf(values: Iterable<number>): number {
  let most = -Infinity;
  for (const value of values) most = Math.max(most, value);
  return most;
}

/** The smallest value; Infinity of none, NaN where one is NaN, as `Math.min`. */
export function minOf(values: Iterable<number>): number {
  let least = Infinity;
  for (const value of values) least = Math.min(least, value);
  return least;
}

/** Adds all values to the end of a list. */
export function appendAll<T>(list: T[], values: Iterable<T>): void {
  for (const value of values) list.push(value);
}

/** Takes a value out of a list, in which the others keep their order; nothing where it is not there. */
export function removeFrom<T>(list: T[], value: T): void {
  if (list.length === 0) return;
  const at = list.indexOf(value);
  // mostly the last one: no list of what was taken out is made
  if (at === list.length - 1) list.pop();
  else if (at >= 0) list.splice(at, 1);
}
