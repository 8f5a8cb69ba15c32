/** Where a word of a launch script stands, so that what is said of a flag can point at it. */

export interface Source {
  /** As the person named it. */
  readonly file: string;
  readonly text: string;
}

/** A stretch of a file. */
export interface Place {
  readonly source: Source;
  readonly start: number;
  readonly end: number;
}

/** Text that was read, and where. */
export interface Located {
  readonly text: string;
  readonly place: Place;
}

/**
 * Line and column (from 1) of a word. A word that came out of a longer string, as `OPTIONS="--a 1 --b 2"`, is looked
 * for in it, so that the line is that of the word and not that of the string.
 */
export function lineOf({ text, place: { source, start, end } }: Located): { line: number; column: number } {
  const within = source.text.slice(start, end).indexOf(text);
  const at = start + Math.max(0, within);
  const before = source.text.slice(0, at);
  return { line: before.split('\n').length, column: at - before.lastIndexOf('\n') };
}

/** `train.sh:12`. */
export const placeText = (located: Located): string => `${located.place.source.file}:${lineOf(located).line}`;
