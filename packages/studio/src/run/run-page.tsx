/** A training that runs now, as `monta studio <run folder>` streams it. */
import { formatSeconds } from '@monta/core';
import { lineChart } from '@monta/views';
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Drawing } from '../base/drawing.js';

interface StepRecord {
  readonly kind: 'step';
  readonly step: number;
  readonly loss: number;
  readonly seconds: number;
}

const steps = signal<readonly StepRecord[]>([]);
const state = signal<'connecting' | 'open' | 'none'>('connecting');

const isStep = (value: unknown): value is StepRecord =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'step';

/** Listens while the page is shown; the server sends every line of metrics.jsonl, the old ones first. */
function listen(): () => void {
  const source = new EventSource('./events');
  steps.value = [];
  source.addEventListener('message', ({ data }: MessageEvent<string>) => {
    const record: unknown = JSON.parse(data);
    if (isStep(record)) steps.value = [...steps.value, record];
  });
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
    <section class="card" aria-label="Training">
      <h2 aria-live="polite">
        {last === undefined
          ? 'Waiting for the first step'
          : `step ${last.step}: loss ${last.loss.toFixed(3)}, ${formatSeconds(last.seconds)} a step`}
      </h2>
      {known.length > 1 && (
        <>
          <Drawing
            svg={lineChart({
              title: 'Loss',
              x: { label: 'step' },
              y: { label: 'nat a token' },
              series: [{ name: 'training', points: known.map(({ step, loss }) => [step, loss]) }],
            })}
          />
          <Drawing
            svg={lineChart({
              title: 'Time of a step',
              x: { label: 'step' },
              y: { label: 'ms' },
              series: [{ name: 'step', points: known.map(({ step, seconds }) => [step, seconds * 1e3]) }],
            })}
          />
        </>
      )}
    </section>
  );
}
