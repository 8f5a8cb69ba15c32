import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { createWordRing, RingReader, RingWriter } from './ring.js';

it('hands over messages in order, whole and once, whatever the order of writes and reads', () => {
  const message = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 15 });
  const act = fc.oneof(message, fc.constant('read' as const));
  fc.assert(
    fc.property(fc.array(act, { maxLength: 200 }), (acts) => {
      const ring = createWordRing(40);
      const writer = new RingWriter(ring);
      const reader = new RingReader(ring);
      const model: number[][] = [];
      const read = (): void => {
        const got = reader.read();
        expect(got === undefined ? undefined : [...got]).toEqual(model.shift());
      };
      for (const next of acts) {
        const written = next !== 'read' && writer.write(Int32Array.from(next));
        if (next === 'read') read();
        else if (written) model.push(next);
        // A message may be refused only when there is something in the way.
        expect(next === 'read' || written || model.length > 0).toBe(true);
        expect(reader.empty()).toBe(model.length === 0);
      }
      while (model.length > 0) read();
      read();
    }),
    { seed: 3, numRuns: 500 },
  );
});

it('refuses a message that never fits', () => {
  expect(() => new RingWriter(createWordRing(40)).write(new Int32Array(30))).toThrow(/does not fit/);
});
