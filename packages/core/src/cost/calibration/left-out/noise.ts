/** How far measurements of the same thing are apart. */
import { quantile } from '../../../units/quantiles.js';
import type { Measurement } from '../measurement.js';
import { family, groupedBySeries, mebibyte } from './left-out.js';

/** How far two measurements of the same thing are apart: what no prediction can be nearer than. */
export interface Noise {
  readonly name: string;
  readonly rows: number;
  readonly median: number;
  readonly p90: number;
}

const noise = (name: string, differences: readonly number[]): Noise => ({
  name,
  rows: differences.length,
  median: quantile(differences, 0.5),
  p90: quantile(differences, 0.9),
});

/** Out of place against in place, the same run and size, with the usual ratio of the series taken off. */
export function placesApart(logs: readonly Measurement[]): Noise[] {
  const rows = [...groupedBySeries(logs).values()].flatMap((members) => {
    const both = members.flatMap((m) =>
      m.inPlaceSeconds === undefined ? [] : [{ bytes: m.bytes, ratio: m.seconds / m.inPlaceSeconds }],
    );
    const usual = quantile(
      both.map(({ ratio }) => ratio),
      0.5,
    );
    return both.map(({ bytes, ratio }) => ({ bytes, apart: Math.abs(ratio / usual - 1) }));
  });
  const part = (large: boolean): number[] =>
    rows.filter(({ bytes }) => bytes >= mebibyte === large).map(({ apart }) => apart);
  return [
    noise('logs, 1 MiB and up: out of place against in place, the same run', part(true)),
    noise('logs, below 1 MiB: the same', part(false)),
  ];
}

/** Machines whose links are the same by their datasheets, each against each, at equal collective, ranks and size. */
export function relativesApart(inside: readonly Measurement[]): Noise[] {
  const names = [...new Set(inside.map((m) => m.gpu))];
  const times = new Map(inside.map((m) => [`${m.gpu}|${m.op}|${m.ranks}|${m.bytes}`, m.seconds]));
  return names.flatMap((gpu, i) =>
    names
      .slice(i + 1)
      .filter((other) => family(other) === family(gpu))
      .map((other) => {
        const differences = inside
          .filter((m) => m.gpu === gpu)
          .flatMap((m) => {
            const seconds = times.get(`${other}|${m.op}|${m.ranks}|${m.bytes}`);
            return seconds === undefined ? [] : [Math.abs(seconds / m.seconds - 1)];
          });
        return noise(`inside a node, ${other} against ${gpu}: the same links by datasheet`, differences);
      }),
  );
}
