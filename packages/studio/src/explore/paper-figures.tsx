/** The paper's two figures under sliders: computed while somebody looks. */
import { formatPercent } from '@monta/core';
import type { SpeedUp, StepGain } from '@monta/core/plan/paper';
import { barChart, lineChart } from '@monta/views';
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Drawing } from '../base/drawing.js';
import { Complaint, Slider } from '../base/field.js';
import { params, setParams } from '../base/location.js';
import type { ShownError } from '../base/shown-error.js';
import { complaintOf } from '../plan/plan-state.js';
import { ask } from '../worker/client.js';
import type { PaperFields } from './paper-answer.js';

/** What each slider can stand at, and where it stands at first. */
const steps = {
  paperNvlink: { label: 'NVLink reaches of its nominal rate', values: [0.6, 0.7, 0.8, 0.9, 1], usual: 0.8 },
  paperNics: { label: 'NICs of a node, of the step', values: [1, 2, 4, 8], usual: 4 },
  paperBatches: { label: 'micro-batches of a step', values: [1, 2, 4, 8, 16], usual: 1 },
  paperTopK: { label: 'experts of a token, of the step', values: [1, 2], usual: 2 },
} as const;
type Name = keyof typeof steps;

const valueOf = (name: Name): number => {
  const given = Number(params.value.get(name));
  const { values, usual } = steps[name];
  return values.find((value) => value === given) ?? usual;
};

const fieldsNow = (): PaperFields => ({
  nvlink: valueOf('paperNvlink'),
  nics: valueOf('paperNics'),
  microBatches: valueOf('paperBatches'),
  topK: valueOf('paperTopK') === 1 ? 1 : 2,
});

const speeds = signal<readonly SpeedUp[]>([]);
const gain = signal<StepGain | undefined>(undefined);
const error = signal<ShownError | undefined>(undefined);
let running: AbortController | undefined;

async function refresh(): Promise<void> {
  running?.abort();
  const own = new AbortController();
  running = own;
  speeds.value = [];
  gain.value = undefined;
  error.value = undefined;
  try {
    const found = await ask('paper', fieldsNow(), {
      signal: own.signal,
      onProgress: (one) => running === own && (speeds.value = [...speeds.value, one]),
    });
    if (running === own && found !== null) gain.value = found;
  } catch (thrown) {
    if (running === own) error.value = complaintOf(thrown);
  }
}

export function PaperFigures() {
  const open = params.value.get('paper') === '1';
  return (
    <details
      class="card"
      open={open}
      onToggle={({ currentTarget }) =>
        currentTarget.open !== open && setParams({ paper: currentTarget.open ? '1' : '' })
      }
    >
      <summary>The paper's two figures</summary>
      {open && <Figures />}
    </details>
  );
}

function Figures() {
  const asked = JSON.stringify(fieldsNow());
  useEffect(() => void refresh(), [asked]);
  useEffect(() => () => running?.abort(), []);
  const { value: known } = speeds;
  return (
    <>
      <p class="muted">
        Two nodes of eight A800, TP = 8, EP = 2, two experts: simulated, as in docs/paper.md, which says what the paper
        leaves open.
      </p>
      {(Object.keys(steps) as Name[]).map((name) => (
        <Slider
          key={name}
          label={steps[name].label}
          at={(steps[name].values as readonly number[]).indexOf(valueOf(name))}
          values={steps[name].values}
          shown={name === 'paperNvlink' ? formatPercent(valueOf(name)) : String(valueOf(name))}
          onChange={(at) => setParams({ [name]: String(steps[name].values[at]) })}
        />
      ))}
      {error.value !== undefined && <Complaint error={error.value} />}
      <Drawing svg={speedChart(known)} />
      {gain.value === undefined ? (
        <p role="status">{`${known.length} points of 24; then the step`}</p>
      ) : (
        <Gain gain={gain.value} />
      )}
    </>
  );
}

function speedChart(known: readonly SpeedUp[]): string {
  const nics = [...new Set(known.map((row) => row.nics))];
  const points = (count: number, value: (row: SpeedUp) => number): [number, number][] =>
    known.filter((row) => row.nics === count).map((row) => [row.volume / 2 ** 20, value(row)]);
  return lineChart({
    title: 'Speed-up over a duplicated dispatch, simulated',
    subtitle: 'solid: AllToAll + AllGather in chunks; dashed: AllToAll alone',
    x: { label: 'dispatched volume V, MiB', scale: 'log', domain: [1, 1024] },
    y: { label: 'times faster', domain: [0, 9] },
    series: nics.flatMap((count, colour) => {
      const name = `${count} NIC${count > 1 ? 's' : ''} a node`;
      return [
        { name, colour, points: points(count, (row) => row.dispatchChunked), dots: true },
        { name: `${name}, AllToAll`, colour, look: 'dashed' as const, points: points(count, (row) => row.allToAll) },
      ];
    }),
    levels: [{ name: 'duplicate factor', value: 8 }],
    width: 640,
  });
}

function Gain({ gain: found }: { readonly gain: StepGain }) {
  const { duplicated, sliced, pipelinedForward, scattered, chosen, choice } = found;
  const less = (slow: number, fast: number): string => formatPercent(1 - fast / slow);
  const [before, after] = [less(duplicated, pipelinedForward), less(sliced, pipelinedForward)];
  return (
    <>
      <Drawing
        svg={barChart({
          title: 'Step of 2x70B at 8,192 tokens on 16 A800, simulated',
          value: { label: 'seconds', format: (seconds) => seconds.toFixed(2) },
          series: ['a step'],
          rows: [
            { name: 'duplicated', values: [duplicated] },
            { name: 'sliced', values: [sliced] },
            { name: 'MoNTA: sliced, 4 chunks forward', values: [pipelinedForward] },
            { name: 'scattered', values: [scattered] },
            { name: `the choice: ${choice}`, values: [chosen], chosen: true },
          ],
          width: 640,
        })}
      />
      <p aria-live="polite">
        {`MoNTA takes ${before} less than duplicated and ${after} less than sliced; the paper says 13 %. ` +
          `The choice takes ${less(duplicated, chosen)} less than duplicated.`}
      </p>
    </>
  );
}
