/** Bus bandwidths of the paper's testbed, with their bounds, from measurements of A100. */
import type { Calibration } from '../calibration.js';
import { fitCalibration } from '../fit.js';
import { gpuKey } from '../gpus.js';
import { busBytesPerSecond, type MeasuredOp, type Measurement } from '../measurement.js';
import { curveOf } from '../series.js';
import { paperTestbed } from '../testbed.js';

/** Bus bandwidth of one series of the paper's testbed with its bounds. */
export interface TestbedCurve {
  readonly name: string;
  readonly points: readonly { bytes: number; expected: number; low: number; high: number }[];
}

const nicCounts = [8, 4, 2] as const;

const a100 = (inside: readonly Measurement[]): Calibration =>
  fitCalibration(inside.filter((m) => gpuKey(m.gpu) === 'A100')).calibration;

function testbedCurve({
  inside,
  name,
  nicsPerNode,
  op,
  ranks,
  nodes,
}: {
  readonly inside: readonly Measurement[];
  readonly name: string;
  readonly nicsPerNode: number;
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly nodes: number;
}): TestbedCurve {
  const testbed = paperTestbed(a100(inside), { nicsPerNode });
  const curve = (calibration: Calibration) => {
    const found = calibration.series.find((s) => s.op === op && s.ranks === ranks && s.nodes === nodes);
    if (found === undefined) throw new Error(`no ${op} over ${ranks} ranks in the testbed`);
    return curveOf(found);
  };
  const [expected, fastest, slowest] = [curve(testbed.expected), curve(testbed.fastest), curve(testbed.slowest)];
  const bandwidth = (bytes: number, seconds: number): number => busBytesPerSecond(op, ranks, bytes, seconds);
  return {
    name,
    points: Array.from({ length: 29 }, (_, i) => 2 ** (16 + i / 2)).map((bytes) => ({
      bytes,
      expected: bandwidth(bytes, expected.at(bytes).seconds),
      low: bandwidth(bytes, slowest.at(bytes).seconds),
      high: bandwidth(bytes, fastest.at(bytes).seconds),
    })),
  };
}

/** all_to_all over both nodes by NIC count, and the gather inside a node that rebuilds the copies. */
export function testbedCurves(inside: readonly Measurement[]): TestbedCurve[] {
  return [
    testbedCurve({
      inside,
      name: 'all_gather in a node, 8 ranks',
      nicsPerNode: 4,
      op: 'all_gather',
      ranks: 8,
      nodes: 1,
    }),
    ...nicCounts.map((nics) =>
      testbedCurve({
        inside,
        name: `all_to_all, 16 ranks, ${nics} NICs a node`,
        nicsPerNode: nics,
        op: 'all_to_all',
        ranks: 16,
        nodes: 2,
      }),
    ),
  ];
}
