import { describe, expect, it } from 'vitest';
import { describeDevice, copyOf, fillOf } from '../../../testing/device/conformance.js';
import { readFloats } from '../host-array.js';
import type { Companion } from './companion.js';
import { CpuDevice } from './cpu-device.js';
import { EventTable } from './event-table.js';

const mebibyte = 2 ** 20;

describeDevice('CPU device', {
  make: (options) => CpuDevice.create({ bytes: 0, maximumBytes: 64 * mebibyte, ...options }),
  tooManyBytes: 65 * mebibyte,
});

describe('a CPU device beside the communication of its rank', () => {
  /** Ends transfers when somebody has to wait; the log shows what ran between. */
  function scripted() {
    const log: string[] = [];
    const kernels = ['pack', 'weights', 'sum'].map((name) => [name, () => log.push(name)] as const);
    const device = CpuDevice.create({ bytes: 0, kernels: Object.fromEntries(kernels) });
    const transfers: { id: number }[] = [];
    const companion: Companion = {
      now: () => 0,
      check: () => undefined,
      progress: () => undefined,
      waitUntil: (over) => {
        while (!over()) {
          const transfer = transfers.shift();
          if (transfer === undefined) throw new Error('nothing is under way');
          log.push('wait');
          device.events.finish(transfer.id);
        }
      },
      completed: () => log.push('told'),
    };
    device.accompany(companion);
    const launch = (kernel: string, lane: string, after: readonly { id: number }[] = []) =>
      device.queue(lane).launch({ kernel, operands: {}, arguments: {} }, after);
    const transfer = (after: readonly { id: number }[] = []) => {
      device.announce(after.map(({ id }) => id));
      const event = device.events.create();
      transfers.push(event);
      return event;
    };
    return { log, device, launch, transfer };
  }

  it('computes while transfers are under way, waits only when nothing can run, and tells for what', () => {
    const { log, device, launch, transfer } = scripted();
    const packed = launch('pack', 'copy');
    const returned = transfer([packed]);
    launch('weights', 'compute');
    device.wait(launch('sum', 'compute', [returned]));
    expect(log).toEqual(['pack', 'told', 'weights', 'wait', 'sum']);
  });

  it('copies go before computation: they feed transfers', () => {
    const { log, device, launch } = scripted();
    launch('weights', 'compute');
    launch('pack', 'copy');
    device.wait(launch('sum', 'inter dp'));
    device.close();
    expect(log).toEqual(['sum', 'pack', 'weights']);
  });

  it('what nothing will end is an error that names what is queued, not a hang', () => {
    const { device, launch } = scripted();
    const never = device.createEvent();
    const sum = launch('sum', 'compute', [never]);
    expect(() => device.wait(sum)).toThrow(/sum on compute/);
    expect(() => device.waitAny([never, sum])).toThrow(/nothing will complete/);
  });

  it('an error of a kernel comes out of the wait, and its event is never done', () => {
    const device = CpuDevice.create({
      bytes: 0,
      kernels: {
        broken: () => {
          throw new RangeError('out of luck');
        },
      },
    });
    const event = device.queue('compute').launch({ kernel: 'broken', operands: {}, arguments: {} });
    expect(() => device.wait(event)).toThrow('out of luck');
    expect(() => device.wait(event)).toThrow(/nothing will complete/);
  });

  it('computes in f32, and says so of other types', () => {
    const device = CpuDevice.create({ bytes: 0 });
    const view = device.allocate('bf16', 4);
    device.wait(device.queue('compute').launch(fillOf(view, 0)));
    const event = device.queue('compute').launch(fillOf(view, 1));
    expect(() => device.wait(event)).toThrow(/operand to of kernel fill: the CPU computes in f32 here, not in bf16/);
  });

  it('a kernel finds the operands it was given and no others', () => {
    const device = CpuDevice.create({
      bytes: 0,
      kernels: { greedy: (call) => void call.operand('weights').f32 },
    });
    const launch = { ...copyOf(device.allocate('f32', 1), device.allocate('f32', 1)), kernel: 'greedy' };
    expect(() => device.wait(device.queue('compute').launch(launch))).toThrow(/without an operand weights/);
  });

  it('lends kernels scratch memory and takes it back', () => {
    const device = CpuDevice.create({
      bytes: 0,
      kernels: {
        twice: (call) => {
          const { f32 } = call.operand('to');
          call.scratch(f32.length, (scratch) => {
            scratch.set(f32);
            for (let i = 0; i < f32.length; i++) f32[i] += scratch[i];
          });
        },
      },
    });
    const view = device.allocate('f32', 8);
    device.fill(view, 3);
    device.wait(device.queue('compute').launch({ ...fillOf(view, 0), kernel: 'twice' }));
    expect([...readFloats(device, view)]).toEqual([6, 6, 6, 6, 6, 6, 6, 6]);
    expect(device.allocatedBytes).toBe(64);
  });
});

describe('event table', () => {
  it('threads that share it see the same events', () => {
    const here = new EventTable(EventTable.createBuffer());
    const mover = new EventTable(here.buffer);
    const event = here.create();
    expect([here.done(event.id), mover.done(event.id)]).toEqual([false, false]);
    mover.finish(event.id);
    expect(here.done(event.id)).toBe(true);
  });

  it('goes on where 32-bit ids wrap', () => {
    const first = 2 ** 31 - 3;
    const table = new EventTable(EventTable.createBuffer(), first);
    // As if the events before had been made and ended.
    for (let id = first - 65536; id < first; id++) table.finish(id);
    const events = Array.from({ length: 6 }, () => table.create());
    expect(events.map(({ id }) => id)).toEqual([
      first,
      first + 1,
      first + 2,
      -(2 ** 31),
      -(2 ** 31) + 1,
      -(2 ** 31) + 2,
    ]);
    for (const { id } of events) expect(table.done(id)).toBe(false);
    table.finish(events[3].id);
    expect(events.map(({ id }) => table.done(id))).toEqual([false, false, false, true, false, false]);
    for (const { id } of events) table.finish(id);
    expect(events.every(({ id }) => table.done(id))).toBe(true);
  });

  it('refuses more outstanding events than it has slots', () => {
    const table = new EventTable(EventTable.createBuffer());
    for (let i = 0; i < 65536; i++) table.create();
    expect(() => table.create()).toThrow(/65536 events are outstanding: event 0 /);
    table.finish(0);
    expect(table.create().id).toBe(65536);
  });
});
