/**
 * Tables for the terminal: no rules, two spaces between columns, numbers lined up at the decimal point, units in a
 * column of their own. A table that is wider than the terminal leaves out its least important columns, and names them.
 */
import { stripVTControlCharacters } from 'node:util';
import { padLeft, padRight, textWidth } from './text-width.js';
import type { Style } from './style.js';
import { wrapLine, wrapText } from './wrap.js';
import { maxOf } from '@monta/core/units';

/**
 * left, right: by the edge. number: by the decimal point; what follows the number after a space is its unit, which is
 * lined up on the left: `4.31 ms`, `12 GB/s`, `3`.
 */
export type Alignment = 'left' | 'right' | 'number';

export interface Column {
  readonly header: string;
  readonly align?: Alignment;
  /**
   * Where a table does not fit, columns of the highest number are left out first (default: a column's place, so the
   * last ones first); 0 always stays.
   */
  readonly priority?: number;
}

export interface TableOptions {
  /** Spaces before every line. */
  readonly indent?: number;
  /** Index of the row that gets the ▸ marker; the table is then indented by two more columns. */
  readonly marked?: number;
  /** Dresses headers and the marker; its columns are the room there is. */
  readonly style?: Style;
}

interface NumberParts {
  readonly whole: string;
  readonly fraction: string;
  readonly unit: string;
}

const numberPattern = /^([−+-]?[\d,]+|[−+-]?∞)(\.\d+)?(?:\s(.+))?$/u;

function splitNumber(text: string): NumberParts | undefined {
  const match = numberPattern.exec(stripVTControlCharacters(text));
  if (!match) return undefined;
  return { whole: match[1] ?? '', fraction: match[2] ?? '', unit: match[3] ?? '' };
}

/**
 * Lines up the cells of one number column; cells that are not numbers (`-`, `unknown`) stand at the right edge of the
 * number.
 */
function alignNumbers(cells: readonly string[]): string[] {
  const parts = cells.map(splitNumber);
  const widest = (read: (part: NumberParts) => string) =>
    Math.max(0, maxOf(parts.map((part) => (part ? textWidth(read(part)) : 0))));
  const whole = widest((part) => part.whole);
  const fraction = widest((part) => part.fraction);
  const unit = widest((part) => part.unit);
  return cells.map((cell, index) => {
    const part = parts[index];
    if (!part) return padLeft(cell, whole + fraction);
    const number = padLeft(part.whole, whole) + padRight(part.fraction, fraction);
    return unit > 0 ? `${number} ${padRight(part.unit, unit)}` : number;
  });
}

/**
 * Draws a table; every row has as many cells as there are columns. Returns lines joined with line breaks, without
 * trailing spaces, ending in no line break.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string {
  for (const row of rows) {
    if (row.length !== columns.length) {
      throw new RangeError(`a row has ${row.length} cells, the table ${columns.length} columns`);
    }
  }
  const { style } = options;
  const before = (options.indent ?? 0) + (options.marked === undefined ? 0 : 2);
  const room = (style?.columns ?? Infinity) - before;
  const drawn = columns.map((column, index) =>
    drawColumn(
      column,
      rows.map((row) => row[index] ?? ''),
    ),
  );
  const kept = keptColumns(columns, drawn, room);
  const shown = narrowed(
    kept.map((index) => drawn[index] ?? drawColumn({ header: '' }, [])),
    room,
  );
  const lines = drawRows(shown, rows.length, options);
  const left = columns.filter((_, index) => !kept.includes(index)).map(({ header }) => header);
  if (left.length === 0) return lines.join('\n');
  const dim = style?.dim ?? ((text: string) => text);
  const note = wrapText(`left out for want of room: ${left.join(', ')}`, room, 2)
    .split('\n')
    .map((line) => ' '.repeat(before) + dim(line));
  return [...lines, ...note].join('\n');
}

/** A column with its cells lined up. */
interface Drawn {
  readonly header: string;
  readonly left: boolean;
  readonly cells: readonly string[];
  readonly width: number;
}

function drawColumn({ header, align = 'left' }: Column, cells: readonly string[]): Drawn {
  const lined = align === 'number' ? alignNumbers(cells) : cells;
  const width = Math.max(textWidth(header), maxOf(lined.map(textWidth)), 0);
  return { header, left: align === 'left', cells: lined, width };
}

const gap = 2;
const widthOf = (columns: readonly Drawn[]): number =>
  columns.reduce((sum, { width }) => sum + width, 0) + gap * Math.max(0, columns.length - 1);

/** Places of the columns that are shown. */
function keptColumns(columns: readonly Column[], drawn: readonly Drawn[], room: number): number[] {
  const priorityOf = (index: number): number => columns[index]?.priority ?? index;
  let kept = columns.map((_, index) => index);
  while (widthOf(kept.flatMap((index) => drawn[index] ?? [])) > room) {
    const last = kept.reduce((worst, index) => (priorityOf(index) >= priorityOf(worst) ? index : worst), kept[0] ?? 0);
    if (priorityOf(last) === 0) break;
    kept = kept.filter((index) => index !== last);
  }
  return kept;
}

/** Text is not broken into columns narrower than this. */
const narrowest = 12;

/** The columns, the widest of text broken at words where they are too wide for the room together. */
function narrowed(columns: readonly Drawn[], room: number): readonly Drawn[] {
  const over = widthOf(columns) - room;
  if (over <= 0) return columns;
  const widest = columns
    .filter(({ left }) => left)
    .reduce<Drawn | undefined>((most, one) => (one.width > (most?.width ?? 0) ? one : most), undefined);
  if (widest === undefined) return columns;
  const width = Math.max(narrowest, widest.width - over);
  const broken = (text: string): string => wrapLine(text.replaceAll(/,(?=\S)/gu, ', '), width).join('\n');
  const cells = widest.cells.map((cell) => (textWidth(cell) > width ? broken(cell) : cell));
  const header = textWidth(widest.header) > width ? broken(widest.header) : widest.header;
  return columns.map((one) => (one === widest ? { ...one, header, cells, width } : one));
}

/** The lines of a row whose cells may have several. */
function rowLines(columns: readonly Drawn[], cells: readonly string[]): string[] {
  const lines = cells.map((cell) => cell.split('\n'));
  const count = lines.reduce((most, { length }) => Math.max(most, length), 1);
  return Array.from({ length: count }, (_, line) =>
    columns
      .map(({ left, width }, index) => (left ? padRight : padLeft)(lines[index]?.[line] ?? '', width))
      .join(' '.repeat(gap))
      .trimEnd(),
  );
}

function drawRows(columns: readonly Drawn[], count: number, { indent = 0, marked, style }: TableOptions): string[] {
  const before = ' '.repeat(indent);
  const marker = (row: number, line: number): string =>
    marked === undefined ? '' : row === marked && line === 0 ? '▸ ' : '  ';
  const dim = style?.dim ?? ((text: string) => text);
  const bold = style?.bold ?? ((text: string) => text);
  const head = rowLines(
    columns,
    columns.map(({ header }) => header),
  );
  const lines = head.every((line) => line === '') ? [] : head.map((line) => before + marker(-1, 0) + dim(line));
  for (let row = 0; row < count; row++) {
    const cells = columns.map((column) => column.cells[row] ?? '');
    rowLines(columns, cells).forEach((text, line) => {
      const whole = `${before}${marker(row, line)}${text}`.trimEnd();
      lines.push(row === marked ? bold(whole) : whole);
    });
  }
  return lines;
}

/**
 * Draws label and value pairs, the labels in one column: `Why NVLink binds`. Continuation lines are indented under the
 * value, and lines that are longer than the style's columns are broken at words.
 */
export function renderFacts(facts: readonly (readonly [label: string, value: string])[], style?: Style): string {
  const width = Math.max(0, maxOf(facts.map(([label]) => textWidth(label)))) + 2;
  return facts
    .map(([label, value]) => {
      const lines = wrapText(value, Math.max(narrowest, (style?.columns ?? Infinity) - width), 2).split('\n');
      const dressed = style ? style.bold(label) : label;
      return lines
        .map((line, index) => (index === 0 ? padRight(dressed, width) + line : ' '.repeat(width) + line).trimEnd())
        .join('\n');
    })
    .join('\n');
}
