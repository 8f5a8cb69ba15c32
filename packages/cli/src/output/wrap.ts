/** Breaks lines where words end, so that a terminal does not break them within words. */
import { textWidth } from './text-width.js';

/** Lines that mean something by their spacing, or are to be copied: they stay as they are. */
const isKept = (line: string): boolean => /\S {2,}\S|^\s|^monta /u.test(line);

/** A text in lines of at most so many columns; a word that is longer than that stays whole. */
export function breakWords(text: string, columns: number): string[] {
  const lines: string[] = [];
  let current = '';
  for (const word of text.split(' ')) {
    const longer = current === '' ? word : `${current} ${word}`;
    if (current !== '' && textWidth(longer) > columns) {
      lines.push(current);
      current = word;
    } else current = longer;
  }
  return [...lines, current];
}

/** A line in lines of at most so many columns, unless it is one that stays as it is. */
export const wrapLine = (line: string, columns: number): string[] =>
  textWidth(line) <= columns || isKept(line) ? [line] : breakWords(line, columns);

/** A text whose lines are broken so; what is broken off is indented by so many columns more than its line. */
export const wrapText = (text: string, columns: number, indent = 0): string =>
  text
    .split('\n')
    .flatMap((line) => {
      const [first = '', ...rest] = wrapLine(line, columns);
      const behind = rest.length === 0 ? [] : wrapLine(rest.join(' '), columns - indent);
      return [first, ...behind.map((one) => ' '.repeat(indent) + one)];
    })
    .join('\n');
