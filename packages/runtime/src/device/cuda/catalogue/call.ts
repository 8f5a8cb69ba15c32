/** What a kernel of the catalogue gets on a card: its operands by role, its arguments, and where to launch. */
import { InputError } from '@monta/core/units';
import type { KernelName, RoleOf } from '@monta/core';
import type { Launch, Operand } from '../../device.js';
import type { KernelArguments } from '../../kernel-arguments.js';
import { elementBytes, type ElementType } from '../../view.js';
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import type { CudaAttention } from '../attention/attention.js';
import type { LtGemm } from '../gemm.js';
import type { Storage } from '../kernel-source.js';
import { elementSize, Launcher } from '../operations/launcher.js';

/** What the launches of a stream share. */
export interface StreamTools {
  readonly context: CudaContext;
  readonly stream: Address;
  /** Made at the first product. */
  readonly gemm: LtGemm;
  /** Made at the first attention in bf16. */
  readonly attention: CudaAttention;
}

/** A launch as its kernel sees it. */
export class CudaKernelCall<Role extends string = string, Arguments = Launch['arguments']> {
  readonly #launch: Launch;
  readonly #tools: StreamTools;
  readonly #temporaries: Address[] = [];
  /** What the launch computes in: bf16 where some operand is, else fp32. */
  readonly storage: Storage;
  readonly on: Launcher;

  constructor(tools: StreamTools, launch: Launch) {
    this.#tools = tools;
    this.#launch = launch;
    this.storage = Object.values(launch.operands).some(({ view }) => view.type === 'bf16') ? 'bf16' : 'f32';
    this.on = this.launcher(this.storage);
  }

  get context(): CudaContext {
    return this.#tools.context;
  }

  get stream(): Address {
    return this.#tools.stream;
  }

  get gemm(): LtGemm {
    return this.#tools.gemm;
  }

  get attention(): CudaAttention {
    return this.#tools.attention;
  }

  /** Kernels of one storage type, on the launch's stream. */
  launcher(storage: Storage): Launcher {
    return new Launcher(this.context.kernels, storage, this.stream);
  }

  get arguments(): Arguments {
    return this.#launch.arguments as Arguments;
  }

  /** Memory that this launch took for itself: given back when it has ended. */
  get temporaries(): readonly Address[] {
    return this.#temporaries;
  }

  /** Whether an optional role is there. */
  has(role: Role): boolean {
    return this.#launch.operands[role] !== undefined;
  }

  operand(role: Role): Operand {
    const operand = this.#launch.operands[role];
    if (operand === undefined) throw new Error(`kernel ${this.#launch.kernel} was launched without an operand ${role}`);
    return operand;
  }

  rows(role: Role): number {
    return this.operand(role).rows;
  }

  columns(role: Role): number {
    return this.operand(role).columns;
  }

  /**
   * Address of a role's element in the type that the launch computes in. Throws `InputError` for elements of another.
   */
  real(role: Role, element = 0): Address {
    return this.#at(role, this.storage) + elementSize(this.storage) * element;
  }

  /** Address of a role's element that is fp32 whatever the launch computes in: statistics, gradients of weights. */
  f32(role: Role, element = 0): Address {
    return this.#at(role, 'f32') + elementBytes.f32 * element;
  }

  i32(role: Role, element = 0): Address {
    return this.#at(role, 'i32') + elementBytes.i32 * element;
  }

  /** Address of a role's bytes: rows in fp8. */
  u8(role: Role): Address {
    return this.#at(role, 'u8');
  }

  /** Room for the launch's own purposes, in elements of 4 bytes: enough for as many of any type. */
  scratch(elements: number): Address {
    const address = this.context.memory.allocate(elements * elementBytes.f32);
    this.#temporaries.push(address);
    return address;
  }

  /** Integers on the card, for the time of the launch. */
  upload(values: Int32Array): Address {
    const address = this.scratch(values.length);
    this.context.memory.write(address, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return address;
  }

  #at(role: Role, type: ElementType): Address {
    const { view } = this.operand(role);
    if (view.type !== type)
      throw new InputError(
        `operand ${role} of kernel ${this.#launch.kernel}: the card expects ${type} here, not ${view.type}`,
        { expected: 'a step of dtype f32 or bf16' },
      );
    return view.byteOffset;
  }
}

/** What the kernel `Name` of the catalogue sees. */
export type CudaCallOf<Name extends KernelName> = CudaKernelCall<RoleOf<Name>, KernelArguments<Name>>;

/** Implementations of some kernels of the catalogue. Each appends work to its stream and returns at once. */
export type CudaCatalogue<Names extends KernelName> = {
  readonly [Name in Names]: (call: CudaCallOf<Name>) => void;
};

export type CudaKernel = (call: CudaKernelCall) => void;
export type CudaKernels = Readonly<Record<string, CudaKernel>>;
