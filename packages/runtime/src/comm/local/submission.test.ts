import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { decode, encode, type Submitted } from './submission.js';

const small = fc.nat(1000);
const extent = fc.record({ byteOffset: fc.nat(2 ** 31 - 1).map((n) => n * 6), length: fc.nat(2 ** 31 - 1) });
const counts = fc.array(fc.nat(2 ** 31 - 1), { maxLength: 20 }).map((list) => Int32Array.from(list));
const submitted: fc.Arbitrary<Submitted> = fc.oneof(
  fc.record({ what: fc.constant('label' as const), id: small, text: fc.string({ unit: 'binary' }) }),
  fc.record({
    what: fc.constant('communicator' as const),
    id: small,
    name: fc.string(),
    lane: fc.string(),
    members: fc.array(small),
  }),
  fc.record({
    what: fc.constant('operation' as const),
    operation: fc.record({
      kind: fc.constantFrom('all_to_all', 'all_gather', 'all_reduce', 'send', 'barrier'),
      communicator: small,
      sequence: small,
      event: small,
      label: small,
      type: fc.constantFrom('f32', 'bf16', 'u8'),
      reduction: fc.constantFrom('sum', 'max'),
      peer: small,
      send: extent,
      receive: extent,
      after: fc.array(small),
      counts,
      receiveCounts: counts,
    }),
  }),
);

it('decodes what was encoded', () => {
  fc.assert(
    fc.property(submitted, (given) => {
      expect(decode(encode(given))).toEqual(given);
    }),
    { seed: 5 },
  );
});
