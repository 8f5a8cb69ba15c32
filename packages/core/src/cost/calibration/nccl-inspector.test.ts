import { describe, expect, it } from 'vitest';
import { readNcclInspector } from './nccl-inspector.js';
import { busFactor } from './measurement.js';

interface Change {
  readonly perf?: Readonly<Record<string, unknown>>;
  readonly header?: Readonly<Record<string, unknown>>;
  readonly rank?: number;
}

/** A record as the plugin writes it; bandwidths worked out from the plugin's own formulas (inspectorComputeCollBw). */
function record(
  coll: 'AllReduce' | 'AllGather' | 'ReduceScatter',
  size: number,
  us: number,
  change: Change = {},
): object {
  const ranks = 8;
  const traffic = coll === 'AllReduce' ? size : size * ranks;
  const algorithm = traffic / us / 1e3;
  const op = ({ AllReduce: 'all_reduce', AllGather: 'all_gather', ReduceScatter: 'reduce_scatter' } as const)[coll];
  return {
    header: { id: '0x7f8c496ae9f661', rank: change.rank ?? 0, n_ranks: ranks, nnodes: 1, ...change.header },
    metadata: { inspector_output_format_version: 'v4.0', hostname: 'node-1', pid: 7, dump_timestamp_us: 1 },
    coll_perf: {
      coll,
      coll_sn: 1407,
      coll_msg_size_bytes: size,
      coll_exec_time_us: us,
      coll_timing_source: 'kernel_gpu',
      coll_algobw_gbs: algorithm,
      coll_busbw_gbs: algorithm * busFactor(op, ranks),
      ...change.perf,
    },
  };
}

const lines = (...records: object[]): string => records.map((one) => `${JSON.stringify(one)}\n`).join('');

describe('readNcclInspector', () => {
  it("counts as nccl-tests does: the whole buffer, a rank's piece times the ranks", () => {
    const { measurements } = readNcclInspector(
      lines(record('AllReduce', 2 ** 30, 4000), record('AllGather', 2 ** 20, 60), record('ReduceScatter', 2 ** 20, 70)),
      'log.jsonl',
      { gpu: 'H100' },
    );
    expect(measurements.map((m) => [m.op, m.bytes, m.ranks, m.nodes, m.line])).toEqual([
      ['all_reduce', 2 ** 30, 8, 1, 1],
      ['all_gather', 2 ** 23, 8, 1, 2],
      ['reduce_scatter', 2 ** 23, 8, 1, 3],
    ]);
    expect(measurements[0]?.seconds).toBeCloseTo(4e-3, 12);
  });

  it('takes the rank that waited for nobody, and says when only one was seen', () => {
    const waits = [90, 41, 40, 300].map((us, rank) => record('AllReduce', 2 ** 20, us, { rank }));
    const all = readNcclInspector(lines(...waits), 'x', { gpu: 'H100' });
    expect(all.measurements.map((m) => m.seconds * 1e6)).toEqual([expect.closeTo(40, 9)]);
    expect(all.warnings).toEqual([]);
    const one = readNcclInspector(lines(...waits.slice(0, 1)), 'x', { gpu: 'H100' });
    expect(one.warnings.join()).toMatch(/1 of 1 collectives are seen by one rank only/u);
  });

  it('reads objects spread over lines, with header fields at the top, and what is left of a file that was cut', () => {
    const { header, ...rest } = record('AllReduce', 2 ** 20, 40) as { header: object };
    const cut = lines(record('AllGather', 2 ** 20, 60)).slice(0, 200);
    const text = `${JSON.stringify({ ...header, ...rest }, null, 2)}\n${cut}`;
    const { measurements, warnings } = readNcclInspector(text, 'x', { gpu: 'H100' });
    expect(measurements).toHaveLength(1);
    expect(warnings[0]).toMatch(/1 records left out: cut off/u);
  });

  it('leaves out what is no duration of a collective, each with its cause', () => {
    const { measurements, warnings } = readNcclInspector(
      lines(
        record('AllReduce', 2 ** 20, 40),
        record('AllReduce', 2 ** 21, 9, { perf: { coll_timing_source: 'collective_cpu' } }),
        record('AllReduce', 2 ** 21, 9, { perf: { coll: 'Reduce' } }),
        record('AllReduce', 2 ** 21, 9, { header: { n_ranks: 1 } }),
        { header: {}, p2p_perf: { p2p: 'Send' } },
      ),
      'x',
      { gpu: 'H100' },
    );
    expect(measurements).toHaveLength(1);
    expect(warnings.join('\n')).toMatch(
      /host's time(?:.|\n)*Reduce is none(?:.|\n)*fewer than two(?:.|\n)*single sends/u,
    );
    expect(() => readNcclInspector(lines({ header: {} }), 'x')).toThrow(/no collective with a size and a time/u);
  });

  it('goes by the bandwidth where a fork counts otherwise, and stops where nothing agrees', () => {
    const whole = record('AllGather', 2 ** 23, 60, { perf: { coll_algobw_gbs: 2 ** 23 / 60 / 1e3 } });
    expect(readNcclInspector(lines(whole), 'x').measurements[0]?.bytes).toBe(2 ** 23);
    const wrong = record('AllReduce', 2 ** 23, 60, { perf: { coll_algobw_gbs: 9000 } });
    expect(() => readNcclInspector(lines(wrong), 'x')).toThrow(/139\.8 GB\/s .* but coll_algobw_gbs is 9000/u);
  });
});
