/** What a kernel of the CPU sees of a launch: its operands as typed arrays, its arguments, and nothing else. */
import { InputError } from '@monta/core/units';
import type { KernelName, RoleOf } from '@monta/core';
import type { Launch, Operand } from '../device.js';
import type { Gemm } from '../gemm.js';
import type { KernelArguments } from '../kernel-arguments.js';
import type { ElementType, View } from '../view.js';
import type { CpuMemory } from './memory.js';

/** One operand's elements where they lie in the device's memory. */
export interface CpuOperand {
  readonly view: View;
  readonly rows: number;
  readonly columns: number;
  /** Throws `InputError` for elements of another type. */
  readonly f32: Float32Array;
  readonly i32: Int32Array;
  /** Of elements of any type. */
  readonly bytes: Uint8Array;
}

/** A launch as its kernel sees it. */
export interface CpuKernelCall<Role extends string = string, Arguments = Launch['arguments']> {
  readonly arguments: Arguments;
  readonly gemm: Gemm;
  /** Whether an optional role is there. */
  has(role: Role): boolean;
  /** Throws when the launch has no such role. */
  operand(role: Role): CpuOperand;
  rows(role: Role): number;
  columns(role: Role): number;
  /** Elements of a role. Throws `InputError` for elements of another type. */
  f32(role: Role): Float32Array;
  i32(role: Role): Int32Array;
  /** Calls `use` with memory for its own purposes, given back when it returns. */
  scratch<T>(elements: number, use: (scratch: Float32Array) => T): T;
}

/** What the kernel `Name` of the catalogue sees: its roles and its arguments, typed. */
export type CpuCallOf<Name extends KernelName> = CpuKernelCall<RoleOf<Name>, KernelArguments<Name>>;
export type CpuKernelOf<Name extends KernelName> = (call: CpuCallOf<Name>) => void;

/** Implementations of some kernels of the catalogue. */
export type CatalogueKernels<Names extends KernelName> = { readonly [Name in Names]: CpuKernelOf<Name> };

export type CpuKernel = (call: CpuKernelCall) => void;

/** Kernels by their names in the catalogue. */
export type CpuKernels = Readonly<Record<string, CpuKernel>>;

class PlacedOperand implements CpuOperand {
  readonly #memory: CpuMemory;
  readonly #where: string;
  readonly view: View;
  readonly rows: number;
  readonly columns: number;

  constructor(memory: CpuMemory, operand: Operand, where: string) {
    this.#memory = memory;
    this.#where = where;
    this.view = operand.view;
    this.rows = operand.rows;
    this.columns = operand.columns;
  }

  get f32(): Float32Array {
    this.#expect('f32');
    return this.#memory.f32(this.view);
  }

  get i32(): Int32Array {
    this.#expect('i32');
    return this.#memory.i32(this.view);
  }

  get bytes(): Uint8Array {
    return this.#memory.u8(this.view);
  }

  #expect(type: ElementType): void {
    if (this.view.type !== type)
      throw new InputError(`${this.#where}: the CPU computes in ${type} here, not in ${this.view.type}`, {
        expected: 'a step shape of dtype f32',
      });
  }
}

/** What kernels share beside their operands. */
export interface KernelTools {
  readonly memory: CpuMemory;
  readonly gemm: Gemm;
  scratch<T>(elements: number, use: (scratch: Float32Array) => T): T;
}

/** A launch as its kernel sees it. */
export class LaunchedCall implements CpuKernelCall {
  readonly #tools: KernelTools;
  readonly #launch: Launch;

  constructor(tools: KernelTools, launch: Launch) {
    this.#tools = tools;
    this.#launch = launch;
  }

  get arguments(): Launch['arguments'] {
    return this.#launch.arguments;
  }

  get gemm(): Gemm {
    return this.#tools.gemm;
  }

  has(role: string): boolean {
    return this.#launch.operands[role] !== undefined;
  }

  operand(role: string): CpuOperand {
    const { kernel, operands } = this.#launch;
    const operand = operands[role];
    if (operand === undefined) throw new Error(`kernel ${kernel} was launched without an operand ${role}`);
    return new PlacedOperand(this.#tools.memory, operand, `operand ${role} of kernel ${kernel}`);
  }

  rows(role: string): number {
    return this.operand(role).rows;
  }

  columns(role: string): number {
    return this.operand(role).columns;
  }

  f32(role: string): Float32Array {
    return this.operand(role).f32;
  }

  i32(role: string): Int32Array {
    return this.operand(role).i32;
  }

  scratch<T>(elements: number, use: (scratch: Float32Array) => T): T {
    return this.#tools.scratch(elements, use);
  }
}
