/** Who sends to whom between the stages of a pipeline. */
import { describe, expect, it } from 'vitest';
import { isSend, isTransfer, peerOf } from './transfers.js';

const members = [3, 7, 11];

describe('peers between stages', () => {
  it('are the next for activations and the one before for gradients, the first behind the last', () => {
    const sends = (pass: 'forward' | 'backward'): number[] =>
      members.map((rank) => peerOf(members, rank, { name: 'send', pass }));
    expect(sends('forward')).toEqual([7, 11, 3]);
    expect(sends('backward')).toEqual([11, 3, 7]);
  });

  it.each(['forward', 'backward'] as const)('receive from whoever sends to them: %s', (pass) => {
    for (const rank of members) {
      const to = peerOf(members, rank, { name: 'send', pass });
      expect(peerOf(members, to, { name: 'receive', pass })).toBe(rank);
    }
  });

  it('know transfers by the keys of their templates, and nothing else', () => {
    const names = ['send.forward', 'send.backward', 'receive.forward', 'receive.backward', 'moe.forward', 'send.moe'];
    expect(names.filter(isSend)).toEqual(names.slice(0, 2));
    expect(names.filter(isTransfer)).toEqual(names.slice(0, 4));
  });
});
