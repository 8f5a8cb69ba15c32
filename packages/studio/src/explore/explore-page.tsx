/** One MoE layer under sliders: which way of travelling wins, by how much, and where the answer flips. */
import { formatBytes, formatPercent, formatSeconds } from '@monta/core';
import { barChart } from '@monta/views';
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Drawing } from '../base/drawing.js';
import { Complaint, Field, Slider } from '../base/field.js';
import { setParams } from '../base/location.js';
import type { ShownError } from '../base/shown-error.js';
import { complaintOf } from '../plan/plan-state.js';
import { ask } from '../worker/client.js';
import { type LayerAnswer, type MapCell, mapColumns, mapRows, ownCell } from './answer.js';
import { PaperFigures } from './paper-figures.js';
import { layerFields, own as ownValues, placeOf, type SliderName, steps, valueOf } from './layer-fields.js';

const labels: Readonly<Record<SliderName, string>> = {
  tp: 'tensor parallel',
  ep: 'expert parallel',
  tokens: 'tokens of a replica',
  experts: 'experts',
  topK: 'top-k',
  skew: 'skew (zipf)',
  ports: 'NICs of a node',
  network: 'network, times its own',
  inside: 'links inside, times their own',
};

const answer = signal<LayerAnswer | undefined>(undefined);
const error = signal<ShownError | undefined>(undefined);
const cells = signal<readonly MapCell[]>([]);
/** Inputs that a complaint can stand at. */
const atInputs: readonly string[] = ['model', 'cluster', ...Object.keys(steps)];
const errorOf = (field: string): ShownError | undefined => (error.value?.field === field ? error.value : undefined);

let running: AbortController | undefined;

/** Asks for the layer, and for the map around it; what was asked before is dropped. */
async function refresh(): Promise<void> {
  running?.abort();
  const own = new AbortController();
  running = own;
  const { signal } = own;
  const show = (found: LayerAnswer): void => {
    if (running !== own) return;
    answer.value = found;
    ownValues.value = found.own;
    error.value = undefined;
  };
  try {
    const fields = layerFields();
    const found = await ask('layer', fields, { signal, onProgress: show });
    if (found === null || running !== own) return;
    show(found);
    const { cell } = found;
    cells.value = cell === undefined ? [] : [{ ...ownCell(fields.sliders), ...cell }];
    await ask('map', fields, {
      signal,
      onProgress: (one) => running === own && (cells.value = [...cells.value, one]),
    });
  } catch (thrown) {
    if (running !== own) return;
    error.value = complaintOf(thrown);
    answer.value = undefined;
  }
}

export function ExplorePage() {
  const asked = JSON.stringify(layerFields());
  useEffect(() => void refresh(), [asked]);
  const { model, cluster } = layerFields().fields;
  return (
    <div class="columns">
      <form class="card sliders" aria-label="The layer" onSubmit={(event) => event.preventDefault()}>
        <Field
          label="model"
          value={model ?? ''}
          error={errorOf('model')}
          onChange={(value) => setParams({ model: value })}
        />
        <Field
          label="cluster"
          value={cluster ?? ''}
          error={errorOf('cluster')}
          onChange={(value) => setParams({ cluster: value })}
        />
        {(Object.keys(steps) as SliderName[]).map((name) => (
          <Slider
            key={name}
            label={labels[name]}
            at={placeOf(name)}
            values={steps[name]}
            shown={String(valueOf(name))}
            error={errorOf(name)}
            onChange={(at) => setParams({ [name]: String(steps[name][at]) })}
          />
        ))}
      </form>
      <div>
        {error.value !== undefined && !atInputs.includes(error.value.field ?? '') && <Complaint error={error.value} />}
        {answer.value !== undefined && <Ways answer={answer.value} />}
        <WinnerMap />
        <PaperFigures />
      </div>
    </div>
  );
}

function Ways({ answer: found }: { readonly answer: LayerAnswer }) {
  const { ways, verdict, refused } = found;
  const svg = barChart({
    title: 'One MoE layer, forward and backward',
    subtitle: 'simulated',
    value: { label: 'ms', format: (value) => value.toPrecision(3) },
    arrangement: 'stacked',
    series: ['forward', 'backward'],
    rows: ways.map(({ name, chunks, forwardSeconds, backwardSeconds }, index) => ({
      name: `${name} ${chunks}`,
      values: [forwardSeconds * 1e3, backwardSeconds * 1e3],
      chosen: index === 0,
    })),
    width: 560,
  });
  return (
    <section class="card" aria-label="Ways that tokens can travel">
      <p class="verdict" aria-live="polite">
        {verdict}
      </p>
      <Drawing svg={svg} />
      <WayTable answer={found} />
      {refused.map(({ name, why }) => (
        <p key={name} class="muted">
          {name}: {why}
        </p>
      ))}
    </section>
  );
}

function WayTable({ answer: { ways, tiers } }: { readonly answer: LayerAnswer }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Bytes by tier">
      <table>
        <thead>
          <tr>
            <th>way, pieces forward/backward</th>
            <th class="number">both passes</th>
            {tiers.map((tier) => (
              <th key={tier} class="number">
                {tier}, a rank
              </th>
            ))}
            <th class="number">hidden</th>
          </tr>
        </thead>
        <tbody>
          {ways.map(({ name, chunks, forwardSeconds, backwardSeconds, tierBytes, hiddenShare, tie }) => (
            <tr key={`${name} ${chunks}`}>
              <td>
                {name} {chunks} {tie && <span class="tag">tie</span>}
              </td>
              <td class="number">{formatSeconds(forwardSeconds + backwardSeconds)}</td>
              {tierBytes.map((bytes, tier) => (
                <td key={tiers[tier]} class="number">
                  {formatBytes(bytes)}
                </td>
              ))}
              <td class="number">{formatPercent(hiddenShare)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Which way wins at other rates of the network and other numbers of tokens. */
function WinnerMap() {
  const found = cells.value;
  const names = [...new Set(found.map(({ name }) => name))];
  const at = (column: number, row: number): MapCell | undefined =>
    found.find((cell) => cell.column === column && cell.row === row);
  return (
    <section class="card" aria-label="Where which way wins">
      <h2>Where which way wins</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Map of winners">
        <table class="map">
          <thead>
            <tr>
              <th>tokens \ network</th>
              {mapColumns.map((factor) => (
                <th key={factor} class="number">
                  {factor < 1 ? `1/${1 / factor}` : factor} x
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {mapRows.map((tokens, row) => (
              <tr key={tokens}>
                <th class="number">{tokens}</th>
                {mapColumns.map((factor, column) => {
                  const cell = at(column, row);
                  return (
                    <td key={factor} class={cell === undefined ? '' : `b-s${names.indexOf(cell.name) % 8}`}>
                      {cell === undefined ? '…' : `${cell.name} ${cell.tie ? '≈' : `+${formatPercent(cell.margin)}`}`}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="muted">≈: a tie with the next way, within the model's own error. Otherwise how far the next one is.</p>
    </section>
  );
}
