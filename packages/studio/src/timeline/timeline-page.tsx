/** Timelines: the layer of the explorer as simulated, and any trace that is dropped, one under the other. */
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { DropFile } from '../base/drop-files.js';
import { Complaint } from '../base/field.js';
import { pageAddress, params } from '../base/location.js';
import type { ShownError } from '../base/shown-error.js';
import { layerFields } from '../explore/layer-fields.js';
import { complaintOf } from '../plan/plan-state.js';
import { ask } from '../worker/client.js';
import type { OpenedTrace } from './opened-trace.js';
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
  const address = params.value.toString();
  useEffect(() => void simulate(), [address]);
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
      {dropped.value !== undefined && <TimelineCanvas trace={dropped.value} />}
      {simulated.value !== undefined && <TimelineCanvas trace={simulated.value} />}
    </>
  );
}
