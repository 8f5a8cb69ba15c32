/**
 * The card as a device: launches on several lanes, ordered by events alone, leave what they leave when run one after
 * another.
 */
import type { DeviceEvent } from '../../device.js';
import { CudaContext } from '../context.js';
import { CudaDevice } from '../cuda-device.js';
import type { CheckBench } from './bench.js';

const lanes = ['compute', 'copy', 'inter', 'intra'];
const buffers = 6;
export function checkDevice(bench: CheckBench): void {
  // Large enough that a launch takes longer than issuing the next ones.
  const [elements, steps] = [bench.of(2 ** 22), bench.of(500)];
  const draw = (below: number): number => Math.floor(bench.random.uniform() * below);
  const device = new CudaDevice(new CudaContext({ libraries: bench.context.libraries }), { trace: true });
  const views = Array.from({ length: buffers }, () => device.allocate('f32', elements));
  const expected = new Float32Array(buffers);
  for (const view of views) device.fill(view, 0);
  /** The last launch that wrote each buffer, and those that read it since. */
  const users: DeviceEvent[][] = views.map(() => []);
  const gate = device.createEvent();
  let last: DeviceEvent = gate;
  for (let step = 0; step < steps; step++) {
    const [to, from] = [draw(buffers), draw(buffers)];
    const whole = (index: number) => ({ view: views[index], rows: 1, columns: elements });
    const copies = from !== to && draw(2) === 0;
    const after = [...users[to], ...(copies ? users[from].slice(0, 1) : []), ...(step === 0 ? [gate] : [])];
    const queue = device.queue(lanes[draw(lanes.length)]);
    last = copies
      ? queue.launch({ kernel: 'copy', operands: { from: whole(from), to: whole(to) }, arguments: {} }, after)
      : queue.launch({ kernel: 'fill', operands: { to: whole(to) }, arguments: { value: step } }, after);
    expected[to] = copies ? expected[from] : step;
    users[to] = [last];
    if (copies) users[from].push(last);
  }
  device.complete(gate);
  for (const event of users.flat()) device.wait(event);
  const values = views.map((view) => {
    const read = new Float32Array(elements);
    device.read(view, read);
    return read;
  });
  const first = values.map((array) => array[0]);
  bench.expect('device: order by events', first, expected, 0);
  const same = values.map((array, index) => Number(array.every((value) => value === first[index])));
  bench.expect('device: whole buffers', same, new Float32Array(buffers).fill(1), 0);
  const records = device.takeRecords();
  bench.expect('device: a record for each launch', [records.length], [steps], 0);
  const backwards = records.filter(({ start, end }) => !(end >= start)).length;
  bench.expect('device: records end after they start', [backwards], [0], 0);
  device.close();
}
