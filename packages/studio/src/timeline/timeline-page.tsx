/** Timelines: the layer of the explorer as simulated, and any trace that is dropped, one over the other. */
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { DropFile } from '../base/drop-files.js';
import { Complaint } from '../base/field.js';
import { pageAddress, params, setParams } from '../base/location.js';
import type { ShownError } from '../base/shown-error.js';
import { layerFields } from '../explore/layer-fields.js';
import { complaintOf } from '../plan/plan-state.js';
import { ask } from '../worker/client.js';
import type { OpenedTrace } from './opened-trace.js';
import { overlaid } from './overlay.js';
import { TimelineCanvas } from './timeline-canvas.js';

const simulated = signal<OpenedTrace | undefined>(undefined);
const dropped = signal<OpenedTrace | undefined>(undefined);
const error = signal<ShownError | undefined>(undefined);

async function simulate(): Promise<void> {
  try {
    simulated.value = await ask('layerTrace', { ...layerFields(), pass: 'forward' });
    error.value = undefined;
  } catch (thrown) {
    error.value = complaintOf(thrown);
  }
}

async function open(name: string, read: () => Promise<ArrayBuffer>): Promise<void> {
  try {
    const text = await read();
    dropped.value = await ask('trace', { name, text }, { transfer: [text] });
    error.value = undefined;
  } catch (thrown) {
    error.value = complaintOf(thrown);
  }
}

export function TimelinePage() {
  const layer = JSON.stringify(layerFields());
  useEffect(() => void simulate(), [layer]);
  useEffect(() => {
    // Served by `monta studio trace.json`.
    if (params.value.get('open') === '1') void open('opened', async () => (await fetch('./opened')).arrayBuffer());
  }, []);
  return (
    <>
      <div class="card bar">
        <DropFile label="open a trace" accept=".json" onFile={(file) => void open(file.name, () => file.arrayBuffer())}>
          <span class="muted"> of Monta, or of the PyTorch profiler (Kineto)</span>
        </DropFile>
        <a href={pageAddress('explore')}>change the layer that is simulated</a>
      </div>
      {error.value !== undefined && <Complaint error={error.value} />}
      <Lanes />
    </>
  );
}

/** A dropped trace with the simulated layer over it, or either alone. */
function Lanes() {
  const [measured, layer] = [dropped.value, simulated.value];
  if (measured === undefined) return layer === undefined ? null : <TimelineCanvas trace={layer} fitTo={fitOf(layer)} />;
  // Traces of Monta mostly hold what was simulated already.
  const usual = measured.overlaid ? '0' : '1';
  const wanted = (params.value.get('overlay') ?? usual) === '1';
  const at = Number(params.value.get('at') ?? '0');
  const shown = layer === undefined || !wanted ? measured : overlaid(measured, layer, Number.isFinite(at) ? at : 0);
  return (
    <>
      <label class="card bar">
        <input
          type="checkbox"
          checked={wanted}
          onChange={({ currentTarget }) => setParams({ overlay: currentTarget.checked ? '1' : '0' })}
        />
        lay the simulated layer over it
      </label>
      <TimelineCanvas
        trace={shown}
        fitTo={`${fitOf(measured)} ${wanted && layer !== undefined ? fitOf(layer) : ''}`}
        {...(wanted ? { onBegin: (moment: number) => setParams({ at: String(moment) }) } : {})}
      />
    </>
  );
}

/** Another one of these is another picture, which is shown whole at first. */
const fitOf = ({ title, seconds }: OpenedTrace): string => `${title} ${seconds}`;
