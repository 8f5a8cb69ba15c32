/**
 * Tables for the terminal: no rules, two spaces between columns, numbers lined up at the decimal point, units in a
 * column of their own.
 */
import { stripVTControlCharacters } from 'node:util';
import { padLeft, padRight, textWidth } from './text-width.js';
import type { Style } from './style.js';
import { maxOf } from '@monta/core';

/**
 * left, right: by the edge. number: by the decimal point; what follows the number after a space is its unit, which is
 * lined up on the left: `4.31 ms`, `12 GB/s`, `3`.
 */
export type Alignment = 'left' | 'right' | 'number';

export interface Column {
  readonly header: string;
  readonly align?: Alignment;
}

export interface TableOptions {
  /** Spaces before every line. */
  readonly indent?: number;
  /** Index of the row that gets the ▸ marker; the table is then indented by two more columns. */
  readonly marked?: number;
  /** Dresses headers and the marker. */
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
  const bodies = columns.map((column, index) => {
    const cells = rows.map((row) => row[index] ?? '');
    return column.align === 'number' ? alignNumbers(cells) : cells;
  });
  const widths = columns.map((column, index) =>
    Math.max(textWidth(column.header), maxOf((bodies[index] ?? []).map(textWidth)), 0),
  );
  const place = (text: string, index: number) =>
    (columns[index]?.align ?? 'left') === 'left'
      ? padRight(text, widths[index] ?? 0)
      : padLeft(text, widths[index] ?? 0);
  const indent = ' '.repeat(options.indent ?? 0);
  const marker = options.marked === undefined ? () => '' : (row: number) => (row === options.marked ? '▸ ' : '  ');
  const header = columns
    .map((column, index) => place(column.header, index))
    .join('  ')
    .trimEnd();
  const dim = options.style?.dim ?? ((text: string) => text);
  const bold = options.style?.bold ?? ((text: string) => text);
  const lines = header === '' ? [] : [indent + marker(-1) + dim(header)];
  for (const [index] of rows.entries()) {
    const cells = columns.map((_, column) => place(bodies[column]?.[index] ?? '', column));
    const line = `${indent}${marker(index)}${cells.join('  ')}`.trimEnd();
    lines.push(index === options.marked ? bold(line) : line);
  }
  return lines.join('\n');
}

/**
 * Draws label and value pairs, the labels in one column: `Why NVLink binds`. Continuation lines are indented under the
 * value.
 */
export function renderFacts(facts: readonly (readonly [label: string, value: string])[], style?: Style): string {
  const width = Math.max(0, maxOf(facts.map(([label]) => textWidth(label)))) + 2;
  return facts
    .map(([label, value]) => {
      const lines = value.split('\n');
      const dressed = style ? style.bold(label) : label;
      return lines
        .map((line, index) => (index === 0 ? padRight(dressed, width) + line : ' '.repeat(width) + line).trimEnd())
        .join('\n');
    })
    .join('\n');
}
