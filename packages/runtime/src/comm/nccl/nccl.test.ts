import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Span } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { builtTesting } from '../../../testing/built.js';
import { describeConformance } from '../../../testing/comm/conformance.js';
import type { CaseReport } from '../../../testing/comm/conformance-cases.js';
import { fakeNcclTable } from '../../../testing/comm/fake-nccl.js';
import type { NcclTestJob } from '../../../testing/comm/nccl.worker.js';
import { launchLocal } from '../../launch/launch-local.js';
import type { TransferRecord } from '../communicator.js';

interface Returned {
  readonly left: Readonly<Record<'memory' | 'streams' | 'events' | 'open', number>>;
  readonly records: readonly TransferRecord[];
  /** By step. */
  readonly spans: readonly (readonly Span[])[];
}

async function run(
  ranks: number,
  job: Omit<NcclTestJob, 'folder' | 'table'>,
  onMessage: (rank: number, message: unknown) => void = () => undefined,
): Promise<Returned[]> {
  const folder = mkdtempSync(join(tmpdir(), 'monta-nccl-'));
  try {
    return (await launchLocal({
      ranks,
      memoryBytes: 1 << 16,
      workerModule: builtTesting('comm/nccl.worker'),
      workerData: { ...job, folder, table: fakeNcclTable() } satisfies NcclTestJob,
      onMessage,
    })) as Returned[];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('on cards and a NCCL of the test’s making', () => {
  describeConformance('nccl backend', [1, 2, 3, 4], (ranks, onReport) =>
    run(ranks, { trace: ranks % 2 === 0 }, (rank, message) => onReport(rank, message as CaseReport)),
  );

  it('gives back memory, streams, events and communicators', async () => {
    for (const { left } of await run(2, { trace: true }))
      expect(left).toEqual({ memory: 0, streams: 0, events: 0, open: 0 });
  });

  it('tells of every operation when the last member came to it, the same on all members', async () => {
    const [first, second] = await run(2, { trace: true });
    expect(first?.records.length).toBeGreaterThan(50);
    for (const { issued, ready, end } of first?.records ?? []) expect(issued <= ready && ready <= end).toBe(true);
    // Messages between two ranks aside, both take part in everything.
    expect(second?.records.length).toBe(first?.records.length);
  });

  it('leaves no span of a step for later, whoever asks first', async () => {
    for (const { spans, records } of await run(2, { trace: true, steps: 3 })) {
      expect(spans.map((ofStep) => ofStep.map(({ step }) => step))).toEqual(
        [0, 1, 2].map((step) => Array.from({ length: 10 }, () => step)),
      );
      for (const ofStep of spans) expect(new Set(ofStep.map(({ operation }) => operation)).size).toBe(10);
      expect(records).toEqual([]);
    }
  });

  it.each([
    [
      'other operation',
      /mismatch on communicator inter\/world, operation 1: rank 0 submitted all_reduce, rank 1 barrier/u,
    ],
    ['other counts', /rank 1 sends 3 elements to rank 0, which expects 2/u],
    ['never comes', /all_reduce \(operation 1 of communicator inter\/world\): rank 1 returned without submitting it/u],
  ] as const)('ends a job whose rank 1 has an %s, with both sides named', async (fault, message) => {
    await expect(run(2, { trace: false, fault })).rejects.toThrow(message);
  });
});
