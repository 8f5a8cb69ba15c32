/**
 * Formulas over vectors as nested calls, for functions under construction: each expression pushes its value when
 * called.
 */
import type { FunctionBuilder, Local } from './emitter.js';
import type { Opcode } from './opcodes.js';

export type Expression = (f: FunctionBuilder) => FunctionBuilder;

function operation(name: Opcode): (...operands: readonly Expression[]) => Expression {
  return (...operands) =>
    (f) => {
      for (const operand of operands) operand(f);
      return f.op(name);
    };
}

function shift(name: Opcode): (value: Expression, by: number) => Expression {
  return (value, by) => (f) => value(f).i32(by).op(name);
}

export const local =
  (index: Local): Expression =>
  (f) =>
    f.get(index);
/** Four times the same float. */
export const floats =
  (value: number): Expression =>
  (f) =>
    f.f32(value).op('f32x4.splat');
/** Four times the same 32-bit integer. */
export const ints =
  (value: number): Expression =>
  (f) =>
    f.i32(value).op('i32x4.splat');
/** A scalar f32 parameter in all lanes. */
export const spread =
  (index: Local): Expression =>
  (f) =>
    f.get(index).op('f32x4.splat');
/** The vector at a pointer. */
export const at =
  (pointer: Local): Expression =>
  (f) =>
    f.get(pointer).memory('v128.load');
/** Four 16-bit values at a pointer, widened with zeros. */
export const halvesAt =
  (pointer: Local): Expression =>
  (f) =>
    f.get(pointer).memory('v128.load16x4_u');

export const add = operation('f32x4.add');
export const subtract = operation('f32x4.sub');
export const multiply = operation('f32x4.mul');
export const divide = operation('f32x4.div');
export const minimum = operation('f32x4.min');
export const maximum = operation('f32x4.max');
export const negate = operation('f32x4.neg');
export const nearest = operation('f32x4.nearest');
export const isNotEqual = operation('f32x4.ne');
const toInts = operation('i32x4.trunc_sat_f32x4_s');
export const addInts = operation('i32x4.add');
export const subtractInts = operation('i32x4.sub');
export const isEqualInts = operation('i32x4.eq');
/** As signed integers. */
export const isLessInts = operation('i32x4.lt_s');
export const isMoreInts = operation('i32x4.gt_s');
export const and = operation('v128.and');
export const or = operation('v128.or');
export const xor = operation('v128.xor');
export const shiftLeft = shift('i32x4.shl');
export const shiftRight = shift('i32x4.shr_u');

/** Where the mask's bits are 1 the first, else the second. */
export function select(mask: Expression, yes: Expression, no: Expression): Expression {
  return operation('v128.bitselect')(yes, no, mask);
}

/** local = value. */
export function assign(f: FunctionBuilder, target: Local, value: Expression): void {
  value(f).set(target);
}

/** Memory at the pointer = the vector. */
export function storeAt(f: FunctionBuilder, pointer: Local, value: Expression): void {
  value(f.get(pointer)).memory('v128.store');
}

/** Memory at the pointer = the low halves of the four integers, each below 65536. */
export function storeHalvesAt(f: FunctionBuilder, pointer: Local, value: Expression): void {
  const scratch = f.local('v128');
  assign(f, scratch, value);
  f.get(pointer).get(scratch).get(scratch).op('i16x8.narrow_i32x4_u').storeLow64();
}

/**
 * e^x for |x| up to about 87 (beyond that, the value there); within 2 units in the last place. x = n ln 2 + r, a
 * polynomial for e^r and n into the exponent: the method and coefficients of Cephes' expf (S. Moshier).
 */
export function exponential(f: FunctionBuilder, x: Expression): Expression {
  const [n, r] = [f.local('v128'), f.local('v128')];
  const coefficients = [
    1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
  ];
  assign(f, r, maximum(minimum(x, floats(88)), floats(-87)));
  assign(f, n, nearest(multiply(local(r), floats(Math.LOG2E))));
  // ln 2 in two parts, the first with few bits, so that n times it is exact.
  assign(f, r, subtract(local(r), multiply(local(n), floats(0.693359375))));
  assign(f, r, subtract(local(r), multiply(local(n), floats(-2.1219444e-4))));
  const [first = 0, ...rest] = coefficients;
  const polynomial = rest.reduce<Expression>((sum, c) => add(multiply(sum, local(r)), floats(c)), floats(first));
  const power = add(add(multiply(polynomial, multiply(local(r), local(r))), local(r)), floats(1));
  const scale = shiftLeft(addInts(toInts(local(n)), ints(127)), 23);
  return multiply(power, scale);
}
