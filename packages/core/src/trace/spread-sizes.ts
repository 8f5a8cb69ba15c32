/**
 * What traces saw of a collective at one size only, or nearly, tells nothing of latency and bandwidth; several traces
 * may have sizes enough.
 */
import type { Measurement, Reading } from '../cost/index.js';
import { InputError } from '../units/index.js';
import { traceLibrary } from './trace-measurements.js';

/** Largest over smallest size that a curve needs; nearer sizes say nothing of the slope. */
const leastSpread = 2;

/**
 * Takes out, with a warning, measurements from traces whose sizes are too near to each other. Throws `InputError` when
 * nothing is left.
 */
export function withSpreadSizes({ measurements, warnings }: Reading): Reading {
  const series = new Map<string, { place: string; members: Measurement[] }>();
  const others: Measurement[] = [];
  for (const m of measurements) {
    if (m.library !== traceLibrary) {
      others.push(m);
      continue;
    }
    const place = `${m.op} over ${m.ranks} ranks on ${m.nodes ?? '?'} node${m.nodes === 1 ? '' : 's'}`;
    const key = `${m.gpu}|${m.system}|${place}`;
    const found = series.get(key) ?? { place, members: [] };
    series.set(key, found);
    found.members.push(m);
  }
  const narrow: string[] = [];
  const spread = [...series.values()].flatMap(({ place, members }) => {
    const sizes = members.map((m) => m.bytes).sort((a, b) => a - b);
    if ((sizes.at(-1) ?? 0) >= leastSpread * (sizes[0] ?? 0)) return members;
    const at = members[0] === undefined ? '' : `${members[0].source}:${members[0].line}`;
    narrow.push(`${at}: sizes of ${place} are too near to each other to tell latency from bandwidth, left out`);
    return [];
  });
  const all = [...warnings, ...narrow];
  if (others.length + spread.length > 0) return { measurements: [...others, ...spread], warnings: all };
  throw new InputError('no collective was seen alone at sizes that differ', {
    file: [...new Set(measurements.map((m) => m.source))].join(', '),
    expected: 'a collective of the same ranks at two sizes, one at least twice the other',
    hint: `give several traces, of runs with other chunks, batches or sequences (${all.join('; ')})`,
  });
}
