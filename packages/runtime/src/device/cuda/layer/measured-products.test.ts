import { expect, it } from 'vitest';
import { FakeCuda } from '../../../../testing/device/fake-cuda.js';
import { DeviceMemoryError } from '../../device.js';
import { CudaContext } from '../context.js';
import { MeasuredProducts, type ExpertProduct, type ExpertProducts } from './expert-products.js';
import { runsOfSegments } from './expert-rows.js';

const capacity = 2 ** 24;

function waysOn(room: number) {
  const context = new CudaContext({ libraries: new FakeCuda(1, capacity).libraries(0) });
  const multiplied: string[] = [];
  const way = (name: string, bytes: number): ExpertProducts => ({
    name,
    padding: 1,
    prepare: () => {
      if (bytes > 0) context.memory.free(context.memory.allocate(bytes));
    },
    multiply: (_stream, { d }) => {
      multiplied.push(name);
      return d;
    },
  });
  const ways = new MeasuredProducts(context, [way('roomy', room), way('plain', 0)]);
  const weights = { base: 0, columns: 2 ** 10, weightRows: 2 ** 10, storage: 'f32' } as const;
  const rows = { base: 0, columns: 2 ** 10 };
  return { context, ways, multiplied, weights, rows };
}

const runs = runsOfSegments(Int32Array.of(0, 0, 3, 1, 3, 4), 2, 1);

it('a way for which the card has no room is not chosen', () => {
  const { context, ways, rows, weights, multiplied } = waysOn(2 * capacity);
  const product: ExpertProduct = { kind: 'forward', a: rows, b: weights, d: rows };
  ways.prepare(context.createStream(), runs, [rows, weights]);
  ways.multiply(context.createStream(), product);
  expect(new Set(multiplied)).toEqual(new Set(['plain']));
  expect(Object.values(ways.choices)).toEqual(['plain']);
  context.close();
});

it('the way without room of its own is chosen where there is none to try sums in', () => {
  const { context, ways, rows, weights, multiplied } = waysOn(1);
  context.memory.allocate(capacity - 2 ** 21);
  expect(() => context.memory.allocate(2 ** 22)).toThrow(DeviceMemoryError);
  const product: ExpertProduct = { kind: 'weight', a: rows, b: rows, d: weights, add: true };
  ways.prepare(context.createStream(), runs, [rows, weights]);
  ways.multiply(context.createStream(), product);
  expect(multiplied).toEqual(['plain']);
  context.close();
});
