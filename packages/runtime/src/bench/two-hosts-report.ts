/** The two-host bench as a table. */
import type { Ceiling, TwoHostsFigure } from './two-hosts.js';

const mebibyte = 2 ** 20;
const milliseconds = (seconds: number): string => (seconds * 1000).toFixed(0);
const megabits = (bytesPerSecond: number): string => ((8 * bytesPerSecond) / 1e6).toFixed(0);

export function ceilingLine({ rate, tp, tcpBytesPerSecond, mpiBytesPerSecond }: Ceiling): string {
  return `link ${rate}, TP=${tp}, EP=2: TCP reaches ${megabits(tcpBytesPerSecond)} Mbit/s each way, MPI ${megabits(mpiBytesPerSecond)}`;
}

/** Figures of one link and TP, grouped by part and volume, each beside `duplicated` and the best strategy without chunks. */
export function figureLines(figures: readonly TwoHostsFigure[]): string[] {
  const lines = [
    '| part | MiB | strategy | chunks | ms (min..max) | bound ms | over bound | duplicated / this | best unchunked / this |',
    '|---|--:|---|--:|--:|--:|--:|--:|--:|',
  ];
  for (const figure of figures) {
    const rivals = figures.filter(
      ({ part, volumeBytes }) => part === figure.part && volumeBytes === figure.volumeBytes,
    );
    const duplicated = rivals.find(({ strategy }) => strategy === 'duplicated');
    const fixed = Math.min(...rivals.filter(({ chunks }) => chunks === 1).map(({ seconds }) => seconds));
    const ratio = (seconds: number): string => `${(seconds / figure.seconds).toFixed(2)}x`;
    const percent = ((figure.seconds / figure.boundSeconds - 1) * 100).toFixed(0);
    lines.push(
      `| ${figure.part} | ${(figure.volumeBytes / mebibyte).toFixed(0)} | ${figure.strategy} | ${figure.chunks} | ${milliseconds(figure.seconds)} (${milliseconds(figure.fastest)}..${milliseconds(figure.slowest)}) | ${milliseconds(figure.boundSeconds)} | ${percent} % | ${duplicated === undefined ? '' : ratio(duplicated.seconds)} | ${ratio(fixed)} |`,
    );
  }
  return lines;
}

/** What came out wrong, for an exit code. */
export function wrongFigures(figures: readonly TwoHostsFigure[]): string[] {
  return figures
    .filter(({ error }) => error !== 0)
    .map(({ part, strategy, chunks, tp, error }) => `${part} ${strategy} ${chunks}, TP=${tp}: wrong by ${error}`);
}
