/**
 * The CPU's kernels on a toy device, with what the catalogue says of them enforced: a kernel works on copies of exactly
 * its operands, and what it only reads must be as before. (That a write leaves nothing of before cannot be checked
 * here: chunks write their rows of one region.)
 */
import { kernelSpec, type Mode } from '@monta/core';
import { CpuMemory, createGemm, type CpuKernelCall, type CpuOperand } from '#runtime/device/cpu/index.js';
import { cpuKernels } from '#runtime/device/cpu/kernels/index.js';
import type { HostArray } from '#runtime/device/device.js';
import type { ToyCall, ToyKernels, ToyOperand } from './toy-device.js';

/** The kernels of the catalogue, in the bits of the CPU's. */
export function toyKernels(): ToyKernels {
  const gemm = createGemm(CpuMemory.create({ bytes: 0 }), { prefer: 'wasm' });
  return Object.fromEntries(
    Object.entries(cpuKernels).map(([name, kernel]) => [
      name,
      (call) => runOnCopies(name, call, (copies) => kernel(callOf(name, copies, gemm))),
    ]),
  );
}

type Copies = Omit<ToyCall, 'operands'> & { readonly operands: Readonly<Record<string, ToyOperand>> };

function runOnCopies(name: string, call: ToyCall, run: (copies: Copies) => void): void {
  const modes = modesOf(name, Object.keys(call.operands));
  const copies: Record<string, ToyOperand> = {};
  for (const [role, operand] of Object.entries(call.operands)) {
    copies[role] = { ...operand, array: operand.array.slice() };
  }
  run({ ...call, operands: copies });
  for (const [role, { array }] of Object.entries(call.operands)) {
    const copy = copies[role].array;
    if (modes[role].join() !== 'read') array.set(copy);
    else if (!sameBytes(array, copy))
      throw new Error(`kernel ${name} changed its operand ${role}, which it only reads`);
  }
}

function modesOf(name: string, roles: readonly string[]): Record<string, readonly Mode[]> {
  const spec = kernelSpec(name);
  if (spec === undefined) throw new Error(`kernel ${name} is not in the catalogue`);
  return Object.fromEntries(
    roles.map((role) => {
      const declared = spec.roles[role];
      if (declared === undefined) throw new Error(`kernel ${name} has no role ${role}`);
      return [role, declared.modes];
    }),
  );
}

function sameBytes(a: HostArray, b: HostArray): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: HostArray): Buffer => Buffer.from(buffer, byteOffset, byteLength);
  return bytes(a).equals(bytes(b));
}

function callOf(name: string, { operands, arguments: given }: Copies, gemm: CpuKernelCall['gemm']): CpuKernelCall {
  const operand = (role: string): CpuOperand => {
    const found = operands[role];
    if (found === undefined) throw new Error(`kernel ${name} was launched without an operand ${role}`);
    const { view, rows, columns, array } = found;
    return {
      view,
      rows,
      columns,
      get f32() {
        if (!(array instanceof Float32Array)) throw new TypeError(`operand ${role} of kernel ${name} is ${view.type}`);
        return array;
      },
      get i32() {
        if (!(array instanceof Int32Array)) throw new TypeError(`operand ${role} of kernel ${name} is ${view.type}`);
        return array;
      },
      bytes: new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    };
  };
  return {
    arguments: given,
    gemm,
    has: (role) => operands[role] !== undefined,
    operand,
    rows: (role) => operand(role).rows,
    columns: (role) => operand(role).columns,
    f32: (role) => operand(role).f32,
    i32: (role) => operand(role).i32,
    scratch: (elements, use) => use(new Float32Array(elements).fill(NaN)),
  };
}
