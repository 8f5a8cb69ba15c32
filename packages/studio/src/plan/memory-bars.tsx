/** Memory of a plan, stage by stage, against what a device has. */
import { formatBytes } from '@monta/core';
import { barChart } from '@monta/views';
import { Drawing } from '../base/drawing.js';
import { memoryParts, type PlanDetail } from './answer.js';

const names: Readonly<Record<(typeof memoryParts)[number], string>> = {
  weights: 'weights',
  gradients: 'gradients',
  optimizer: 'optimizer',
  activations: 'activations and buffers',
  beside: 'beside tensors',
};

export function MemoryBars({ detail }: { readonly detail: PlanDetail }) {
  const { stages, capacityBytes } = detail;
  const bytes = (value: number): string => formatBytes(value, 'binary');
  const fullest = stages.reduce((most, one) => (one.totalBytes > most.totalBytes ? one : most));
  const svg = barChart({
    title: 'Memory of a device',
    subtitle: `${bytes(fullest.totalBytes)} of ${bytes(capacityBytes)} on the fullest stage`,
    value: { label: 'GiB', format: (value) => value.toPrecision(3) },
    arrangement: 'stacked',
    series: memoryParts.map((part) => names[part]),
    limit: { name: `limit ${bytes(capacityBytes)}`, value: capacityBytes / 2 ** 30 },
    rows: stages.map(({ stage, parts }) => ({ name: `stage ${stage}`, values: parts.map((one) => one / 2 ** 30) })),
    width: 520,
  });
  return (
    <figure class="card">
      <Drawing svg={svg} />
    </figure>
  );
}
