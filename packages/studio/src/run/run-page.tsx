/** A training that runs now, as `monta studio <run folder>` streams it: loss, steps, load of experts, lanes. */
import { formatInteger, formatSeconds } from '@monta/core';
import { expertLoad, heatMap, lineChart } from '@monta/views';
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Drawing } from '../base/drawing.js';
import type { OpenedTrace } from '../timeline/opened-trace.js';
import { TimelineCanvas } from '../timeline/timeline-canvas.js';
import { ask } from '../worker/client.js';

interface StepRecord {
  readonly kind: 'step';
  readonly step: number;
  readonly loss: number;
  readonly seconds: number;
  readonly tokens?: number;
  readonly strategy?: string;
  readonly expertShares?: readonly number[];
}

const steps = signal<readonly StepRecord[]>([]);
const heldOut = signal<readonly (readonly [step: number, loss: number])[]>([]);
const lanes = signal<OpenedTrace | undefined>(undefined);
const state = signal<'connecting' | 'open' | 'none'>('connecting');

const kindOf = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
const isStep = (value: unknown): value is StepRecord => kindOf(value) === 'step';
const isEvaluation = (value: unknown): value is { readonly step: number; readonly crossEntropy: number } =>
  kindOf(value) === 'evaluation';

/** Lanes of the steps that were recorded, once the training has written them. */
async function showLanes(): Promise<void> {
  const text = await (await fetch('./opened')).arrayBuffer();
  lanes.value = await ask('trace', { name: 'recorded steps', text }, { transfer: [text] });
}

/** Listens while the page is shown; the server sends every line of metrics.jsonl, the old ones first. */
function listen(): () => void {
  const source = new EventSource('./events');
  steps.value = [];
  heldOut.value = [];
  lanes.value = undefined;
  source.addEventListener('message', ({ data }: MessageEvent<string>) => {
    const record: unknown = JSON.parse(data);
    if (isStep(record)) steps.value = [...steps.value, record];
    if (isEvaluation(record)) heldOut.value = [...heldOut.value, [record.step, record.crossEntropy]];
  });
  source.addEventListener('trace', () => void showLanes());
  source.addEventListener('open', () => {
    state.value = 'open';
  });
  source.addEventListener('error', () => {
    if (source.readyState === EventSource.CLOSED) state.value = 'none';
  });
  return () => source.close();
}

export function RunPage() {
  useEffect(listen, []);
  const known = steps.value;
  const last = known.at(-1);
  if (state.value === 'none' && last === undefined)
    return (
      <section class="card">
        <h2>No run is being served</h2>
        <p>
          <code>monta studio runs/&lt;folder&gt;</code> opens this page beside a training, and follows it.
        </p>
      </section>
    );
  return (
    <>
      <section class="card" aria-label="Training">
        <h2 aria-live="polite">
          {last === undefined
            ? 'Waiting for the first step'
            : `step ${last.step}: loss ${last.loss.toFixed(3)}, ${formatSeconds(last.seconds)} a step`}
        </h2>
        {last?.tokens !== undefined && (
          <p class="muted">
            {`${formatInteger(Math.round(last.tokens / last.seconds))} tokens/s`}
            {last.strategy !== undefined && `, ${last.strategy}`}. Measured.
          </p>
        )}
        {known.length > 1 && <Curves known={known} />}
      </section>
      <ExpertLoad known={known} />
      {lanes.value !== undefined && <TimelineCanvas trace={lanes.value} fitTo={String(lanes.value.seconds)} />}
    </>
  );
}

function Curves({ known }: { readonly known: readonly StepRecord[] }) {
  const evaluations = heldOut.value;
  return (
    <div class="columns">
      <Drawing
        svg={lineChart({
          title: 'Loss',
          x: { label: 'step' },
          y: { label: 'nat a token' },
          series: [
            { name: 'training', points: known.map(({ step, loss }) => [step, loss]) },
            ...(evaluations.length > 1
              ? [{ name: 'held out', points: evaluations.map(([step, loss]): [number, number] => [step, loss]) }]
              : []),
          ],
          width: 560,
        })}
      />
      <Drawing
        svg={lineChart({
          title: 'Time of a step',
          x: { label: 'step' },
          y: { label: 'ms' },
          series: [{ name: 'step', points: known.map(({ step, seconds }) => [step, seconds * 1e3]) }],
          width: 560,
        })}
      />
    </div>
  );
}

/** How much of the picks each expert gets, relative to balance. */
function ExpertLoad({ known }: { readonly known: readonly StepRecord[] }) {
  const shares = known.flatMap(({ step, expertShares = [] }) =>
    expertShares.length > 0 ? [{ step, expertShares }] : [],
  );
  const [load] = expertLoad(shares, shares.length);
  if (load === undefined) return null;
  const { stepEdges, experts } = load;
  const first = shares[0]?.step ?? 1;
  return (
    <section class="card" aria-label="Load of experts">
      <Drawing
        svg={heatMap({
          title: 'Load of experts',
          subtitle: 'measured; 1: as many picks as when all are alike',
          quantity: 'load',
          x: { label: 'step' },
          edges: stepEdges.map((edge) => first + edge),
          middle: 1,
          rows: experts.map((values, expert) => ({ name: `expert ${expert}`, values })),
        })}
      />
    </section>
  );
}
