import { describe, expect, it } from 'vitest';
import { copyOf, describeDevice, fillOf } from '../../../testing/device/conformance.js';
import { FakeCuda } from '../../../testing/device/fake-cuda.js';
import { cudaAvailable } from './bindings/index.js';
import type { CudaKernels } from './catalogue/call.js';
import { CudaContext } from './context.js';
import { CudaDevice, type CudaDeviceOptions } from './cuda-device.js';

const capacity = 2 ** 26;

function onFake(seed: number, trace = false) {
  const fake = new FakeCuda(seed, capacity);
  const context = new CudaContext({ libraries: fake.libraries(0) });
  return { fake, device: new CudaDevice(context, { trace }) };
}

for (const seed of [1, 2, 3])
  describeDevice(`cuda on a card of the test's making, order ${seed}`, {
    make: ({ trace }) => onFake(seed, trace).device,
    tooManyBytes: capacity,
  });

if (cudaAvailable().devices > 0)
  describeDevice('cuda', {
    make: ({ trace }) => new CudaDevice(new CudaContext(), { trace }),
    tooManyBytes: 2 ** 42,
  });

describe('cuda device', () => {
  it('gives everything back when it closes: memory, streams, events', () => {
    const { fake, device } = onFake(1, true);
    const [a, b] = [device.allocate('f32', 100), device.allocate('f32', 100)];
    device.free(a);
    device.queue('compute').launch(fillOf(b, 1));
    device.queue('copy').launch(copyOf(b, b));
    device.close();
    expect([fake.memory.size, fake.streams.size, fake.events.size]).toEqual([0, 1, 0]);
  });

  it('uses few events of CUDA for many launches', () => {
    const { fake, device } = onFake(2);
    const view = device.allocate('f32', 4);
    for (let i = 0; i < 5000; i++) {
      const event = device.queue('compute').launch(fillOf(view, i));
      if (i % 10 === 0) device.query(event);
    }
    device.wait(device.queue('compute').launch(fillOf(view, 0)));
    expect(fake.events.size).toBeLessThan(5000);
    device.close();
  });

  it('keeps away from its stream what waits for the host, and says so when nobody will complete it', () => {
    const { fake, device } = onFake(3);
    const view = device.allocate('f32', 4);
    const gate = device.createEvent();
    const held = device.queue('copy').launch(fillOf(view, 1), [gate]);
    expect([...fake.streams.values()].every(({ length }) => length === 0)).toBe(true);
    expect(() => device.wait(held)).toThrow('communicates with nobody');
    device.complete(gate);
    device.wait(held);
    device.close();
  });

  it('lets streams go first for which others wait, unless told otherwise', () => {
    const prioritiesOf = (options: CudaDeviceOptions): number[] => {
      const fake = new FakeCuda(1, capacity);
      const device = new CudaDevice(new CudaContext({ libraries: fake.libraries(0) }), options);
      for (const lane of ['compute', 'copy', 'intra etp', 'inter ep']) device.queue(lane);
      device.transferStream('sums of gradients', 'inter dp');
      device.transferStream('exchanges', 'inter ep');
      device.close();
      return fake.priorities.map((level) => 0 - level);
    };
    const [compute, copy, intra, inter, sums, exchanges] = prioritiesOf({});
    expect([compute < copy, copy < intra, intra < inter, sums < intra, exchanges === inter]).not.toContain(false);
    expect(prioritiesOf({ priorities: { intra: 4, 'inter dp': 2 } })).toEqual([compute, copy, 4, inter, 2, exchanges]);
    // A card has six levels. What is given for a lane is of all its queues.
    expect(prioritiesOf({ priorities: { inter: 100 } })).toEqual([compute, copy, intra, 5, 5, 5]);
  });

  it('lets the rank’s communication go on while the host waits for the card in the middle of a launch', () => {
    const order: string[] = [];
    const append = (stream: number, name: string): void =>
      void fake.streams.get(stream)?.push({ run: () => order.push(name) > 0 });
    const fake = new FakeCuda(4, capacity);
    const context = new CudaContext({ libraries: fake.libraries(0) });
    const kernels: CudaKernels = {
      // More than may be under way from pinned memory: the host waits for copies behind the transfer.
      uploading: (call) => {
        for (let time = 0; time < 5; time++) call.upload(new Int32Array(1e6));
        append(call.stream, 'uploading');
      },
      following: (call) => append(call.stream, 'following'),
    };
    const device = new CudaDevice(context, { kernels });
    const gate = device.createEvent();
    let looked = 0;
    // The other rank's part of the transfer comes while this one looks; so does what `following` waits for.
    const progress = (): void => {
      looked += 1;
      if (looked === 20) device.complete(gate);
    };
    device.accompany({
      now: () => 0,
      check: () => undefined,
      progress,
      waitUntil: (over) => {
        while (!over()) progress();
      },
      completed: () => undefined,
    });
    const transfer = device.transferStream('exchange', 'inter ep');
    const exchanged = transfer.announce();
    transfer.begin([]);
    fake.streams.get(transfer.stream)?.push({ run: () => looked >= 20 });
    transfer.end(exchanged);
    const launch = (kernel: string) => ({ kernel, operands: {}, arguments: {} });
    const following = device.queue('compute').launch(launch('following'), [gate]);
    const uploading = device.queue('copy').launch(launch('uploading'), [exchanged]);
    device.wait(uploading);
    device.wait(following);
    expect(order.toSorted()).toEqual(['following', 'uploading']);
    device.close();
  });

  it('gives work first to a stream that has none, then what others wait for', () => {
    const order: string[] = [];
    const noting = (call: { readonly stream: number; readonly arguments: unknown }): void => {
      const { name } = call.arguments as { readonly name: string };
      order.push(name);
      // Until all is on streams, none of it ends.
      fake.streams.get(call.stream)?.push({ run: () => order.length === names.length });
    };
    const names = ['pack 0', 'experts 0', 'pack 1', 'pack 2', 'place', 'experts 1', 'sum'];
    const fake = new FakeCuda(6, capacity);
    const device = new CudaDevice(new CudaContext({ libraries: fake.libraries(0) }), { kernels: { noting } });
    const [copy, compute] = [device.queue('copy'), device.queue('compute')];
    const launch = (name: string) => ({ kernel: 'noting', operands: {}, arguments: { name } });
    const [first, second] = [device.createEvent(), device.createEvent()];
    const packed = copy.launch(launch('pack 0'), [first]);
    for (const name of ['pack 1', 'pack 2']) copy.launch(launch(name));
    compute.launch(launch('experts 0'), [packed]);
    device.complete(first);
    expect(order).toEqual(names.slice(0, 4));
    copy.launch(launch('place'), [second]);
    compute.launch(launch('experts 1'), [second]);
    compute.launch(launch('sum'));
    device.complete(second);
    expect(order).toEqual(names);
    device.close();
  });

  it('finds room for one pool in what the other keeps', () => {
    const context = new CudaContext({ libraries: new FakeCuda(5, capacity).libraries(0) });
    const device = new CudaDevice(context);
    const most = capacity - 2 ** 22;
    device.free(device.allocate('u8', most));
    const block = context.memory.allocate(most);
    expect(() => device.allocate('u8', most)).toThrow('no room');
    context.memory.free(block);
    device.free(device.allocate('u8', most));
    device.close();
  });

  it('names the rank in the errors of CUDA', () => {
    const fake = new FakeCuda(1, capacity);
    const context = new CudaContext({ libraries: fake.libraries(5) });
    expect(() => new CudaDevice(context).allocate('u8', 2 * capacity)).toThrow('rank 5: cudaMalloc: out of memory (2)');
  });
});
