import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '@monta/core/units';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { computing } from '../../../../testing/device/computing-card.js';
import { FakeCuda } from '../../../../testing/device/fake-cuda.js';
import { CpuDevice } from '../../cpu/index.js';
import type { Device, Launch } from '../../device.js';
import { cacheVariable } from '../compile.js';
import { CudaContext } from '../context.js';
import { CudaDevice } from '../cuda-device.js';

const [experts, hidden, ffn] = [5, 8, 12];

/** Triples [expert, first row, rows]. */
const layouts = {
  'rows of all experts, one of them idle': [0, 0, 70, 1, 70, 3, 3, 73, 64, 4, 137, 130],
  'a chunk, two runs an expert': [0, 5, 20, 0, 60, 31, 1, 91, 9, 2, 120, 80, 2, 230, 40],
  'few rows of one expert': [2, 0, 5],
  'an expert without rows among others': [0, 0, 70, 1, 70, 0, 2, 70, 80],
  'no rows at all': [],
};

/** How the time between two events goes on, and which way that makes the faster one: the first or the last measured. */
const clocks = {
  'batched buckets': (now: number): number => 100 * now ** 2,
  'cublasLt loop': (now: number): number => 1e5 * Math.sqrt(now),
};

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-experts-'));
  process.env[cacheVariable] = folder;
});

afterEach(() => {
  delete process.env[cacheVariable];
  rmSync(folder, { recursive: true });
});

function cardOf(clock: (now: number) => number): { readonly fake: FakeCuda; readonly card: CudaDevice } {
  const fake = new FakeCuda(1, 2 ** 28, 0xff, computing);
  let now = 0;
  fake.clock = () => clock(++now);
  const context = new CudaContext({ libraries: fake.libraries(0) });
  fake.watch(context.memory);
  return { fake, card: new CudaDevice(context) };
}

type Operands = Readonly<Record<string, readonly [rows: number, columns: number]>>;

/** Runs a kernel on fresh inputs, the same on every device, and returns all its operands. */
function run(device: Device, kernel: string, operands: Operands, args: Launch['arguments']): Map<string, Float32Array> {
  const random = new Random(7);
  const views = Object.entries(operands).map(([role, [rows, columns]]) => {
    const view = device.allocate('f32', rows * columns);
    device.write(
      view,
      Float32Array.from({ length: view.length }, () => random.uniform() - 0.5),
    );
    return [role, { view, rows, columns }] as const;
  });
  device.wait(device.queue('compute').launch({ kernel, operands: Object.fromEntries(views), arguments: args }));
  return new Map(
    views.map(([role, { view }]) => {
      const values = new Float32Array(view.length);
      device.read(view, values);
      return [role, values];
    }),
  );
}

function compare(card: CudaDevice, kernel: string, operands: Operands, args: Launch['arguments']): void {
  const cpu = CpuDevice.create({ bytes: 2 ** 24 });
  const expected = run(cpu, kernel, operands, args);
  cpu.close();
  for (const [role, values] of run(card, kernel, operands, args)) {
    const wanted = expected.get(role) ?? [];
    const apart = values.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i])), 0);
    expect(apart, `${kernel}, ${role}`).toBeLessThan(1e-5);
  }
}

const rows = 280;
const wide = [rows, 2 * ffn] as const;
const narrow = [rows, ffn] as const;
const outer = [rows, hidden] as const;
const weights = { gateUp: [experts * 2 * ffn, hidden], down: [experts * hidden, ffn] } as const;
const clamp = { alpha: 1.7, limit: 0.3 };
const forward = { input: outer, ...weights, gateUpRows: wide, activated: narrow, output: outer };
const biases = { gateUpBias: [experts, 2 * ffn], downBias: [experts, hidden] } as const;
const backward = {
  outputGradient: outer,
  gateUpRows: wide,
  ...weights,
  activated: narrow,
  gateUpGradient: wide,
  inputGradient: outer,
};
const sums = {
  input: outer,
  activated: narrow,
  gateUpGradient: wide,
  outputGradient: outer,
  gateUpWeightGradient: weights.gateUp,
  downWeightGradient: weights.down,
};

describe("experts' kernels on a card of the test's making give what a CPU gives", () => {
  for (const [way, clock] of Object.entries(clocks))
    for (const [layout, list] of Object.entries(layouts))
      it(`${layout}, ${way}`, () => {
        const { fake, card } = cardOf(clock);
        const args = { segments: Int32Array.from(list), etp: { index: 0, size: 1 } };
        // Twice: measured, and as was measured. In between other rows, of which the card has to think again.
        for (let time = 0; time < 2; time++) {
          compare(card, 'moe.experts', forward, args);
          compare(card, 'moe.experts', { ...forward, ...biases }, { ...args, clamp });
          compare(card, 'moe.experts.inputGradient', backward, args);
          compare(card, 'moe.experts.inputGradient', backward, { ...args, clamp });
          compare(card, 'moe.experts.weightGradient', sums, args);
          compare(card, 'moe.experts', forward, { ...args, segments: Int32Array.of(1, 0, 64, 3, 64, 1) });
        }
        card.close();
        expect([fake.memory.size, fake.handles.size]).toEqual([0, 0]);
        const chosen = readdirSync(folder)
          .filter((file) => file.startsWith('experts-'))
          .map((file) => readFileSync(join(folder, file), 'utf8').split('\n', 1)[0]);
        expect(new Set(chosen)).toEqual(new Set([way]));
      });
});
