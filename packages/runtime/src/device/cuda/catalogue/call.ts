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
import type { ExpertMatrix } from '../layer/expert-products.js';
import { elementSize, Launcher } from '../operations/launcher.js';
import type { StreamUploads } from '../stream-uploads.js';
import type { LaneExperts, LaunchProducts } from './lane-experts.js';

/** What the launches of a stream share. */
export interface StreamTools {
  readonly context: CudaContext;
  readonly stream: Address;
  /** Made at the first product. */
  readonly gemm: LtGemm;
  /** Made at the first attention in bf16. */
  readonly attention: CudaAttention;
  readonly uploads: StreamUploads;
  /** Made at the first product of experts. */
  readonly experts: LaneExperts;
}

/** A launch as its kernel sees it. */
export class CudaKernelCall<Role extends string = string, Arguments = Launch['arguments']> {
  readonly #launch: Launch;
  readonly #tools: StreamTools;
  readonly #temporaries: Address[] = [];
  /** What the launch computes in: bf16 where some operand is, else fp32. */
  readonly storage: Storage;
  readonly on: Launcher;

  readonly #begin: () => void;
  #begun = false;

  /** begin: called once, before the first work of the launch itself goes to the stream; plans may have gone before. */
  constructor(tools: StreamTools, launch: Launch, begin: () => void) {
    this.#tools = tools;
    this.#launch = launch;
    this.#begin = begin;
    this.storage = Object.values(launch.operands).some(({ view }) => view.type === 'bf16') ? 'bf16' : 'f32';
    this.on = this.launcher(this.storage);
  }

  get context(): CudaContext {
    return this.#tools.context;
  }

  /** To put work on. */
  get stream(): Address {
    this.begin();
    return this.#tools.stream;
  }

  get gemm(): LtGemm {
    this.begin();
    return this.#tools.gemm;
  }

  get attention(): CudaAttention {
    this.begin();
    return this.#tools.attention;
  }

  /**
   * Products of experts, which hold `elements` elements of the role's weights each, on the launch's segments.
   * `matrices`: all that the launch multiplies.
   */
  expertProducts(elements: number, role: Role, matrices: readonly ExpertMatrix[]): LaunchProducts {
    const { segments } = this.#launch.arguments as unknown as KernelArguments<'moe.experts'>;
    const experts = this.operand(role).view.length / elements;
    const products = this.#tools.experts.prepare(this.storage, { segments, experts }, matrices);
    this.begin();
    return products;
  }

  /** The launch's own work begins, if it has not yet. */
  readonly begin = (): void => {
    if (this.#begun) return;
    this.#begun = true;
    this.#begin();
  };

  /** Kernels of one storage type, on the launch's stream. */
  launcher(storage: Storage): Launcher {
    return new Launcher(this.context.kernels, storage, this.#tools.stream, this.begin);
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

  /** Integers on the card, for the time of the launch; they are there when what follows on the stream begins. */
  upload(values: Int32Array): Address {
    const address = this.scratch(values.length);
    this.copy(address, values);
    return address;
  }

  /** Copies integers to the card; they are there when what follows on the stream begins. */
  copy(address: Address, values: Int32Array): void {
    this.#tools.uploads.copy(address, values);
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
