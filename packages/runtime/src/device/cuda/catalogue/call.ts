/** What a kernel of the catalogue gets on a card: its operands by role, its arguments, and the stream to launch on. */
import type { Launch, Operand } from '../../device.js';
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';

/** Appends work for one launch to its stream, and returns at once. */
export type CudaKernel = (call: CudaKernelCall) => void;
export type CudaKernels = Readonly<Record<string, CudaKernel>>;

export class CudaKernelCall {
  readonly #launch: Launch;

  constructor(
    readonly context: CudaContext,
    readonly stream: Address,
    launch: Launch,
  ) {
    this.#launch = launch;
  }

  get arguments(): Launch['arguments'] {
    return this.#launch.arguments;
  }

  has(role: string): boolean {
    return Object.hasOwn(this.#launch.operands, role);
  }

  operand(role: string): Operand {
    if (!this.has(role)) throw new Error(`kernel ${this.#launch.kernel} was launched without the operand ${role}`);
    return this.#launch.operands[role];
  }
}
