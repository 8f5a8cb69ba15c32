/**
 * Loops over vectors of 4 elements: pointers in, pointers out, as many vectors as asked for. Who calls them rounds the
 * length up to 4 by copying the rest through scratch.
 */
import { FunctionBuilder, instantiate } from './emitter.js';
import type { Local } from './emitter.js';
import {
  add,
  addInts,
  and,
  assign,
  at,
  divide,
  exponential,
  floats,
  halvesAt,
  ints,
  isEqualInts,
  isLessInts,
  isMoreInts,
  isNotEqual,
  local,
  maximum,
  multiply,
  negate,
  or,
  select,
  shiftLeft,
  shiftRight,
  spread,
  storeAt,
  storeHalvesAt,
  subtract,
  subtractInts,
  xor,
} from './expression.js';
import type { Expression } from './expression.js';

const lanes = 4;

/** What a kernel's arrays are: element bytes, and whether it reads and writes them. Arguments come in this order. */
export interface ArrayRole {
  readonly bytes: 2 | 4;
  readonly reads: boolean;
  readonly writes: boolean;
}

const input: ArrayRole = { bytes: 4, reads: true, writes: false };
const output: ArrayRole = { bytes: 4, reads: false, writes: true };
const inPlace: ArrayRole = { bytes: 4, reads: true, writes: true };
const halfInput: ArrayRole = { bytes: 2, reads: true, writes: false };
const halfOutput: ArrayRole = { bytes: 2, reads: false, writes: true };

/** One output, and as many inputs. */
function reductionRoles(count: number): readonly ArrayRole[] {
  return [output, ...Array.from({ length: count }, () => input)];
}

/** Arrays of each kernel; a kernel is called with their addresses, the number of vectors, and its scalars. */
export const kernelRoles = {
  add: [inPlace, input],
  sum2: reductionRoles(2),
  sum3: reductionRoles(3),
  sum4: reductionRoles(4),
  sum5: reductionRoles(5),
  sum6: reductionRoles(6),
  sum7: reductionRoles(7),
  sum8: reductionRoles(8),
  max2: reductionRoles(2),
  max3: reductionRoles(3),
  max4: reductionRoles(4),
  max5: reductionRoles(5),
  max6: reductionRoles(6),
  max7: reductionRoles(7),
  max8: reductionRoles(8),
  scale: [inPlace],
  addScaled: [inPlace, input],
  sumOfSquares: [input],
  siluMul: [input, input, output],
  siluMulBackward: [input, input, input, output, output],
  toBf16: [input, halfOutput],
  fromBf16: [halfInput, output],
  toF16: [input, halfOutput],
  fromF16: [halfInput, output],
} as const satisfies Record<string, readonly ArrayRole[]>;

export type KernelName = keyof typeof kernelRoles;

const kernelNames = Object.keys(kernelRoles) as KernelName[];

type Body = (f: FunctionBuilder, pointers: readonly Local[], scalar: Local) => void;

const bodies: Record<Exclude<KernelName, 'sumOfSquares'>, Body> = {
  add: (f, [y = 0, x = 0]) => storeAt(f, y, add(at(y), at(x))),
  sum2: reduction(add),
  sum3: reduction(add),
  sum4: reduction(add),
  sum5: reduction(add),
  sum6: reduction(add),
  sum7: reduction(add),
  sum8: reduction(add),
  max2: reduction(maximum),
  max3: reduction(maximum),
  max4: reduction(maximum),
  max5: reduction(maximum),
  max6: reduction(maximum),
  max7: reduction(maximum),
  max8: reduction(maximum),
  scale: (f, [x = 0], factor) => storeAt(f, x, multiply(at(x), spread(factor))),
  addScaled: (f, [y = 0, x = 0], factor) => storeAt(f, y, add(at(y), multiply(at(x), spread(factor)))),
  siluMul: (f, [gate = 0, up = 0, out = 0]) => {
    const g = f.local('v128');
    assign(f, g, at(gate));
    const silu = divide(local(g), add(floats(1), exponential(f, negate(local(g)))));
    storeAt(f, out, multiply(silu, at(up)));
  },
  siluMulBackward,
  toBf16,
  fromBf16: (f, [from = 0, to = 0]) => storeAt(f, to, shiftLeft(halvesAt(from), 16)),
  toF16,
  fromF16,
};

/**
 * Every kernel of `kernelRoles`, and copyRows (source, sourceStride, target, targetStride, rows, bytes), in bytes.
 * sumOfSquares returns its sum.
 */
export function compileElementwiseKernels(memory: WebAssembly.Memory) {
  const functions = kernelNames.map((name) => (name === 'sumOfSquares' ? buildSumOfSquares() : buildLoop(name)));
  return instantiate(memory, [...kernelNames, 'copyRows' as const], [...functions, buildCopyRows()]);
}

function buildLoop(name: Exclude<KernelName, 'sumOfSquares'>): FunctionBuilder {
  const roles = kernelRoles[name];
  const f = new FunctionBuilder(name, [...roles.map(() => 'i32' as const), 'i32', 'f32']);
  const [vectors, scalar] = [roles.length, roles.length + 1];
  f.repeat(vectors, () => {
    bodies[name](f, [...roles.keys()], scalar);
    roles.forEach((role, pointer) => f.advance(pointer, lanes * role.bytes));
  });
  return f;
}

/** Left to right. */
function reduction(combine: (a: Expression, b: Expression) => Expression): Body {
  return (f, [out = 0, first = 0, ...others]) =>
    storeAt(
      f,
      out,
      others.reduce((sum, pointer) => combine(sum, at(pointer)), at(first)),
    );
}

/** With s = sigmoid(g): d(g s)/dg = s (1 + g (1 - s)). */
function siluMulBackward(f: FunctionBuilder, pointers: readonly Local[]): void {
  const [gate = 0, up = 0, gradOut = 0, gradGate = 0, gradUp = 0] = pointers;
  const [g, s, grad, factor] = [f.local('v128'), f.local('v128'), f.local('v128'), f.local('v128')];
  assign(f, g, at(gate));
  assign(f, grad, at(gradOut));
  assign(f, s, divide(floats(1), add(floats(1), exponential(f, negate(local(g))))));
  const slope = multiply(local(s), add(floats(1), multiply(local(g), subtract(floats(1), local(s)))));
  // Read `up` before writing, so that gradients may overwrite their inputs.
  assign(f, factor, multiply(multiply(local(grad), at(up)), slope));
  storeAt(f, gradUp, multiply(local(grad), multiply(local(g), local(s))));
  storeAt(f, gradGate, local(factor));
}

/**
 * Round to nearest even by adding just under half of the dropped part, plus one when the kept part is odd. NaN stays
 * NaN.
 */
function toBf16(f: FunctionBuilder, [from = 0, to = 0]: readonly Local[]): void {
  const u = f.local('v128');
  assign(f, u, at(from));
  const odd = and(shiftRight(local(u), 16), ints(1));
  const rounded = shiftRight(addInts(addInts(local(u), ints(0x7fff)), odd), 16);
  const quiet = or(shiftRight(local(u), 16), ints(0x40));
  storeHalvesAt(f, to, select(isNotEqual(local(u), local(u)), quiet, rounded));
}

const f32Infinity = 0x7f800000;
const f16Infinity = 0x7c00;
/** 2^16 and 2^-14 as f32 bits: from there on f16 overflows, below it is subnormal. */
const f16OverflowBits = 0x47800000;
const f16NormalBits = 0x38800000;
/** 0.5 as f32 bits: its last bit is worth 2^-24, the smallest f16. */
const halfBits = 0x3f000000;
/** Difference of the exponent biases, in place in an f32. */
const biasDifference = (127 - 15) << 23;

function toF16(f: FunctionBuilder, [from = 0, to = 0]: readonly Local[]): void {
  const [u, sign, result] = [f.local('v128'), f.local('v128'), f.local('v128')];
  assign(f, u, at(from));
  assign(f, sign, and(local(u), ints(0x80000000)));
  assign(f, u, xor(local(u), local(sign)));
  // Normal: as for bf16, with 13 bits dropped. Subnormal: the addition of 0.5 rounds for us.
  const odd = and(shiftRight(local(u), 13), ints(1));
  const normal = shiftRight(addInts(addInts(local(u), ints(0xfff - biasDifference)), odd), 13);
  const subnormal = subtractInts(add(local(u), ints(halfBits)), ints(halfBits));
  assign(f, result, select(isLessInts(local(u), ints(f16NormalBits)), subnormal, normal));
  const infinity = select(isMoreInts(local(u), ints(f32Infinity)), ints(0x7e00), ints(f16Infinity));
  assign(f, result, select(isLessInts(local(u), ints(f16OverflowBits)), local(result), infinity));
  storeHalvesAt(f, to, or(local(result), shiftRight(local(sign), 16)));
}

function fromF16(f: FunctionBuilder, [from = 0, to = 0]: readonly Local[]): void {
  const [h, u] = [f.local('v128'), f.local('v128')];
  assign(f, h, halvesAt(from));
  assign(f, u, shiftLeft(and(local(h), ints(0x7fff)), 13));
  const exponent = and(local(u), ints(f16Infinity << 13));
  const normal = addInts(local(u), ints(biasDifference));
  // All ones stays all ones. A subnormal gets an exponent of 2^-14 with an implicit one, which is taken off again.
  const special = addInts(local(u), ints(2 * biasDifference));
  const subnormal = subtract(addInts(local(u), ints(biasDifference + (1 << 23))), ints(biasDifference + (1 << 23)));
  const value = select(
    isEqualInts(exponent, ints(f16Infinity << 13)),
    special,
    select(isEqualInts(exponent, ints(0)), subnormal, normal),
  );
  storeAt(f, to, or(value, shiftLeft(and(local(h), ints(0x8000)), 16)));
}

/** Products and sums in double precision. */
function buildSumOfSquares(): FunctionBuilder {
  const f = new FunctionBuilder('sumOfSquares', ['i32', 'i32', 'f32'], ['f64']);
  const [from, vectors] = [0, 1];
  const [value, square, low, high] = [f.local('v128'), f.local('v128'), f.local('v128'), f.local('v128')];
  const accumulate = (sum: Local): void => {
    f.op('f64x2.promote_low_f32x4').set(square);
    f.get(sum).get(square).get(square).op('f64x2.mul', 'f64x2.add').set(sum);
  };
  f.repeat(vectors, () => {
    assign(f, value, at(from));
    f.get(value);
    accumulate(low);
    f.get(value).get(value).shuffle32(2, 3, 2, 3);
    accumulate(high);
    f.advance(from, lanes * 4);
  });
  f.get(low).get(high).op('f64x2.add').set(low);
  f.get(low).extractF64(0).get(low).extractF64(1).op('f64.add');
  return f;
}

function buildCopyRows(): FunctionBuilder {
  const f = new FunctionBuilder('copyRows', ['i32', 'i32', 'i32', 'i32', 'i32', 'i32']);
  const [source, sourceStride, target, targetStride, rows, bytes] = [0, 1, 2, 3, 4, 5];
  f.repeat(rows, () => {
    f.get(target).get(source).get(bytes).copyMemory();
    f.advanceBy(source, sourceStride).advanceBy(target, targetStride);
  });
  return f;
}
