/** How many terminal columns a text takes. */
import { stripVTControlCharacters } from 'node:util';

/** Columns of a text without line breaks; escape sequences count nothing, every other code point one. */
export function textWidth(text: string): number {
  let width = 0;
  for (const _ of stripVTControlCharacters(text)) width++;
  return width;
}

/** Adds spaces on the right up to `width` columns. */
export function padRight(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - textWidth(text)));
}

/** Adds spaces on the left up to `width` columns. */
export function padLeft(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - textWidth(text))) + text;
}
