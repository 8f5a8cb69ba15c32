/** Published kernel times as kernel shapes: reads the CSV files in `fixtures/`. */
import { InputError } from '../../units/errors.js';
import type { MemoryKind } from '../../schedule/work.js';
import type { AttentionShape, KernelShape } from './features.js';

export interface MeasuredKernel {
  /** As written, like `gemm_bf16`. */
  readonly name: string;
  readonly label: string;
  /** What ran, one after the other: attention forward and backward were timed together. */
  readonly shapes: readonly KernelShape[];
  readonly seconds: number;
  /**
   * Several operations that the host launches one by one, or PyTorch's autograd: see `hostSeconds` in `leave-out.ts`.
   */
  readonly hostBound: boolean;
}

const bf16 = 2;
const f32 = 4;

/** Bytes of one row, by columns, of what each memory-bound kernel reads and writes. */
const perRow: Readonly<Record<string, { readonly kind: MemoryKind; readonly bytes: (columns: number) => number }>> = {
  copy: { kind: 'copy', bytes: (c) => 2 * c * bf16 },
  add: { kind: 'add', bytes: (c) => 3 * c * bf16 },
  // two rows of the result for every row of the source
  row_gather_top2: { kind: 'gather', bytes: (c) => 4 * c * bf16 },
  // gate and up are read, their product written
  swiglu_fused: { kind: 'activation', bytes: (c) => 3 * c * bf16 },
  rms_norm_fused: { kind: 'norm', bytes: (c) => 2 * c * bf16 },
  cross_entropy_fused: { kind: 'loss', bytes: (c) => 2 * c * bf16 },
};
/** Parameter, gradient and two moments are read, all but the gradient written. */
const adamwBytes = 7 * f32;

const fused = [
  'swiglu_fused',
  'rms_norm_fused',
  'cross_entropy_fused',
  'adamw_fused_f32',
  'attention_forward_backward',
];

function numbers(text: string, pattern: RegExp): number[] | undefined {
  return pattern.exec(text)?.slice(1).map(Number);
}

function shapesOf(name: string, shape: string): KernelShape[] | undefined {
  const of = (pattern: RegExp): number[] => numbers(shape, pattern) ?? [];
  if (name.startsWith('gemm')) {
    const [rows, columns, depth] = of(/^(\d+)x(\d+)x(\d+)$/u);
    return rows && columns && depth ? [{ kind: 'gemm', rows, columns, depth }] : undefined;
  }
  if (name.startsWith('grouped_gemm')) {
    const [groups, rows, columns, depth] = of(/^(\d+)x\[(\d+)\]x(\d+)x(\d+)$/u);
    return groups && rows && columns && depth ? [{ kind: 'grouped', groups, rows, columns, depth }] : undefined;
  }
  if (name.startsWith('attention')) {
    const [batch, heads, , sequence, keyDim, valueDim] = of(/^b(\d+)h(\d+)kv(\d+)s(\d+)d(\d+)v(\d+)$/u);
    if (!batch || !heads || !sequence || !keyDim || !valueDim) return undefined;
    const forward: AttentionShape = { kind: 'attention', batch, heads, sequence, keyDim, valueDim };
    return name === 'attention_forward' ? [forward] : [forward, { ...forward, kind: 'attentionBackward' }];
  }
  if (name === 'adamw_fused_f32') {
    const [elements] = of(/^(\d+)$/u);
    return elements ? [{ kind: 'update', bytes: adamwBytes * elements }] : undefined;
  }
  const memory = perRow[name];
  const [rows, columns] = of(/^(\d+)x(\d+)$/u);
  return memory && rows && columns ? [{ kind: memory.kind, bytes: rows * memory.bytes(columns) }] : undefined;
}

/**
 * Reads rows `kind,shape,time_us`, with comments in lines that start with #. Kernels that no model of ours prices (a
 * router's softmax with top-k, which the host's launch decides) are left out. Throws `InputError` for a line that is
 * none.
 */
export function readKernels(text: string, fileName: string): MeasuredKernel[] {
  const kernels: MeasuredKernel[] = [];
  text.split('\n').forEach((line, index) => {
    if (line === '' || line.startsWith('#') || line.startsWith('kind,')) return;
    const [name = '', label = '', micros = ''] = line.split(',');
    if (name === 'router_softmax_top8') return;
    const shapes = shapesOf(name, label);
    if (!shapes || !(Number(micros) > 0))
      throw new InputError(`"${line}" is no timed kernel`, {
        file: fileName,
        line: index + 1,
        expected: 'kind,shape,time_us',
      });
    kernels.push({ name, label, shapes, seconds: Number(micros) * 1e-6, hostBound: fused.includes(name) });
  });
  return kernels;
}
