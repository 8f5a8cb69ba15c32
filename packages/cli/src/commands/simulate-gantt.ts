/** One rank's lanes as lines of letters, one letter for each kind of operation. */
import type { Span } from '@monta/core';
import { formatSeconds } from '@monta/core/units';
import { spanLanes } from '@monta/core/trace';

const labelWidth = 9;
const waiting = '·';
const spare = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

/** Letters: the first free one of a name, else any free one. Many kinds (a step) share `*` once letters are used up. */
export function lettersOf(families: readonly string[]): Map<string, string> {
  const letters = new Map<string, string>();
  const used = new Set<string>();
  for (const name of families) {
    if (letters.has(name)) continue;
    const letter = [
      ...Array.from(name.replaceAll(/[^a-z]/giu, '')),
      ...Array.from(name.toUpperCase().replaceAll(/[^A-Z]/gu, '')),
      ...Array.from(spare),
    ].find((candidate) => !used.has(candidate));
    letters.set(name, letter ?? '*');
    if (letter !== undefined) used.add(letter);
  }
  return letters;
}

/** For drawings that are compared. */
export interface GanttOptions {
  /** Seconds that the width stands for; up to the last span's end when left out. */
  readonly until?: number;
  /** By task; of the spans' own tasks when left out. */
  readonly letters?: ReadonlyMap<string, string>;
}

const endOf = (spans: readonly Span[]): number => spans.reduce((latest, span) => Math.max(latest, span.end), 0);

/** Draws the spans of one rank in `columns` columns: a column shows what its lane did longest in it. */
export function ganttText(spans: readonly Span[], columns: number, options: GanttOptions = {}): string {
  const { until: end = endOf(spans), letters = lettersOf(spans.map(({ task }) => task)) } = options;
  const width = Math.max(10, columns - labelWidth);
  if (!(end > 0)) return '';
  const lines: string[] = [];
  for (const lane of spanLanes) {
    const own = spans.filter((span) => span.lane === lane);
    if (own.length === 0) continue;
    const most = new Float64Array(width);
    const cells: string[] = Array.from({ length: width }, () => ' ');
    const cover = (from: number, to: number, letter: string): void => {
      for (let column = Math.floor((from / end) * width); column < Math.min(width, (to / end) * width); column++) {
        const part = Math.min(to, ((column + 1) * end) / width) - Math.max(from, (column * end) / width);
        if (part <= (most[column] ?? 0)) continue;
        most[column] = part;
        cells[column] = letter;
      }
    };
    for (const span of own) {
      cover(span.issued, span.ready, waiting);
      cover(span.ready, span.end, letters.get(span.task) ?? '*');
    }
    lines.push(`${lane.padEnd(labelWidth)}${cells.join('')}`.trimEnd());
  }
  const right = formatSeconds(end);
  lines.push(`${' '.repeat(labelWidth)}0${right.padStart(width - 1)}`);
  const drawn = new Set(spans.map(({ task }) => task));
  const legend = [...letters].filter(([name]) => drawn.has(name)).map(([name, letter]) => `${letter} ${name}`);
  legend.push(`${waiting} waiting for peers`);
  return [...lines, ...wrapped(legend, columns)].join('\n');
}

function wrapped(entries: readonly string[], columns: number): string[] {
  const lines: string[] = [];
  for (const entry of entries) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 3 + entry.length <= columns) lines[lines.length - 1] = `${last}   ${entry}`;
    else lines.push(`${' '.repeat(labelWidth)}${entry}`);
  }
  return lines;
}
