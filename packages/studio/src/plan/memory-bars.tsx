/** Memory of a plan, stage by stage, against what a device has. */
import { formatBytes } from '@monta/core';
import { barChart } from '@monta/views';
import { Drawing } from '../base/drawing.js';
import type { PlanDetail } from './answer.js';

export function MemoryBars({ detail }: { readonly detail: PlanDetail }) {
  const { bars, memoryParts, capacityBytes } = detail;
  const bytes = (value: number): string => formatBytes(value, 'binary');
  const fullest = bars.reduce((most, one) => (one.totalBytes > most.totalBytes ? one : most));
  const svg = barChart({
    title: 'Memory of a device',
    subtitle: `${bytes(fullest.totalBytes)} of ${bytes(capacityBytes)} on the fullest device`,
    value: { label: 'GiB', format: (value) => value.toPrecision(3) },
    arrangement: 'stacked',
    series: [...memoryParts],
    limit: { name: `limit ${bytes(capacityBytes)}`, value: capacityBytes / 2 ** 30 },
    rows: bars.map(({ name, parts }) => ({ name, values: parts.map((one) => one / 2 ** 30) })),
    width: 520,
  });
  return (
    <figure class="card">
      <Drawing svg={svg} />
    </figure>
  );
}
