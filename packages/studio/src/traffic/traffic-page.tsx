/** Bytes by port of one layer, played over the time of a pass. */
import { formatBandwidth, formatBytes, formatInteger, formatSeconds, maxOf } from '@monta/core';
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { Complaint, Field, Slider } from '../base/field.js';
import { pageAddress, params, setParams } from '../base/location.js';
import type { ShownError } from '../base/shown-error.js';
import { layerFields } from '../explore/layer-fields.js';
import { complaintOf } from '../plan/plan-state.js';
import { ask } from '../worker/client.js';
import { sentBy, type TrafficAnswer } from './answer.js';
import { ClusterPicture } from './cluster-picture.js';

const answer = signal<TrafficAnswer | undefined>(undefined);
const error = signal<ShownError | undefined>(undefined);

const passNow = (): 'forward' | 'backward' => (params.value.get('pass') === 'backward' ? 'backward' : 'forward');
const wayNow = (): number => Number(params.value.get('way') ?? '0');

async function refresh(): Promise<void> {
  try {
    answer.value = await ask('traffic', { ...layerFields(), pass: passNow(), way: wayNow() });
    error.value = undefined;
  } catch (thrown) {
    error.value = complaintOf(thrown);
  }
}

/** Moments of the slider, and how long playing takes, milliseconds. */
const [moments, playing] = [100, 4000];

export function TrafficPage() {
  const address = params.value.toString();
  useEffect(() => void refresh(), [address]);
  const found = answer.value;
  return (
    <>
      <div class="card bar">
        <Field
          label="way"
          value={String(wayNow())}
          options={(found?.ways ?? ['…']).map((label, at) => ({ value: String(at), label }))}
          onChange={(way) => setParams({ way })}
        />
        <Field
          label="pass"
          value={passNow()}
          options={['forward', 'backward'].map((value) => ({ value, label: value }))}
          onChange={(pass) => setParams({ pass })}
        />
        <a href={pageAddress('explore')}>change the layer</a>
      </div>
      {error.value !== undefined && <Complaint error={error.value} />}
      {found !== undefined && <Played answer={found} />}
    </>
  );
}

function Played({ answer: found }: { readonly answer: TrafficAnswer }) {
  const [at, setAt] = useState(moments);
  const [plays, setPlays] = useState(false);
  useEffect(() => setAt(moments), [found]);
  useEffect(() => {
    if (!plays) return undefined;
    const began = performance.now();
    let frame = requestAnimationFrame(function draw(now) {
      const next = Math.min(moments, Math.round(((now - began) / playing) * moments));
      setAt(next);
      if (next < moments) frame = requestAnimationFrame(draw);
      else setPlays(false);
    });
    return () => cancelAnimationFrame(frame);
  }, [plays]);
  const moment = (at / moments) * found.seconds;
  const sent = sentBy(found, moment);
  const whole = sentBy(found, found.seconds);
  const running = found.moves.filter(({ from, to }) => from <= moment && moment < to).map(({ name }) => name);
  return (
    <section class="card" aria-label="Bytes by port">
      <div class="bar">
        <h2>Bytes that ports send</h2>
        <button type="button" onClick={() => setPlays(!plays)}>
          {plays ? 'stop' : 'play'}
        </button>
      </div>
      <Slider
        label="time of the pass"
        at={at}
        values={Array.from({ length: moments + 1 }, (_, index) => index)}
        shown={formatSeconds(moment)}
        onChange={(next) => {
          setPlays(false);
          setAt(next);
        }}
      />
      <ClusterPicture answer={found} sent={sent} whole={whole} />
      <p class="said">{running.length === 0 ? 'nothing is sent at this moment' : running.join(', ')}</p>
      <Tiers answer={found} sent={sent} whole={whole} />
      <p class="muted">Upper row: what a device sends inside its node. Lower row: ports of the network. Simulated.</p>
    </section>
  );
}

interface TiersProps {
  readonly answer: TrafficAnswer;
  readonly sent: Float64Array;
  readonly whole: Float64Array;
}

/** The fullest port of each tier. */
function Tiers({ answer: found, sent, whole }: TiersProps) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Fullest ports">
      <table>
        <thead>
          <tr>
            <th>tier</th>
            <th class="number">ports that send</th>
            <th class="number">rate of one</th>
            <th class="number">fullest, until now</th>
            <th class="number">fullest, whole pass</th>
            <th class="number">that alone takes</th>
          </tr>
        </thead>
        <tbody>
          {found.tiers.map((name, tier) => {
            const own = [...found.ports.keys()].filter((port) => found.ports[port]?.tier === tier);
            const most = (of: Float64Array): number => maxOf([0, ...own.map((port) => of[port] ?? 0)]);
            const rate = found.ports[own[0] ?? 0]?.bytesPerSecond ?? 1;
            return (
              <tr key={name}>
                <td>{name}</td>
                <td class="number">{formatInteger(own.filter((port) => (whole[port] ?? 0) > 0).length)}</td>
                <td class="number">{formatBandwidth(rate)}</td>
                <td class="number">{formatBytes(most(sent))}</td>
                <td class="number">{formatBytes(most(whole))}</td>
                <td class="number">{formatSeconds(most(whole) / rate)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
