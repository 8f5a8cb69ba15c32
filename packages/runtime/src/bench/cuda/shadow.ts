/**
 * Every launch of a training step twice: on the CPU, and from the same operands and arguments on the card. Which kernel
 * differs shows at once, before errors of one become inputs of the next.
 */
import type { KernelName, MoeModel } from '@monta/core';
import { kernels } from '@monta/core/schedule';
import { CpuDevice } from '../../device/cpu/index.js';
import { cpuKernels } from '../../device/cpu/kernels/index.js';
import type { CpuKernelCall, CpuKernels } from '../../device/cpu/kernel-call.js';
import { cudaKernels } from '../../device/cuda/catalogue/index.js';
import { difference } from '../../device/cuda/checks/bench.js';
import { CudaContext } from '../../device/cuda/context.js';
import { CudaDevice } from '../../device/cuda/cuda-device.js';
import type { Operand } from '../../device/device.js';
import { emptyHostArray } from '../../device/host-array.js';
import { part, type View } from '../../device/view.js';
import type { StepChanges } from './small-models.js';
import { trainSteps } from './training.js';

export interface KernelDifference {
  readonly kernel: string;
  readonly launches: number;
  /** Of all its outputs: norm of the difference over norm of the CPU's. */
  readonly worst: number;
  /** Which output that was. */
  readonly role: string;
}

/** Elements behind each operand that no kernel may touch, and what they hold. */
const fenceElements = 8192;
const fenceValue = 3;

interface Worst {
  launches: number;
  worst: number;
  role: string;
}

/** Launches on the card what the CPU is about to run, and compares. */
class Shadow {
  readonly differences = new Map<string, Worst>();
  readonly #device = new CudaDevice(new CudaContext());

  /** Kernels of the CPU that are followed on the card, where it has them. */
  kernels(): CpuKernels {
    const followed = Object.entries(cpuKernels).map(([name, kernel]): [string, (call: CpuKernelCall) => void] => [
      name,
      Object.hasOwn(cudaKernels, name) ? (call) => this.#follow(name as KernelName, kernel, call) : kernel,
    ]);
    return Object.fromEntries(followed);
  }

  close(): void {
    this.#device.close();
  }

  #follow(name: KernelName, kernel: (call: CpuKernelCall) => void, call: CpuKernelCall): void {
    const roles = Object.entries<{ readonly modes: readonly string[] }>(kernels[name].roles).filter(([role]) =>
      call.has(role),
    );
    const device = this.#device;
    const placed = new Map<string, View>();
    const operands = Object.fromEntries(
      roles.map(([role]): [string, Operand] => {
        const { view, rows, columns, bytes } = call.operand(role);
        const key = `${view.byteOffset} ${view.length}`;
        const room = placed.get(key) ?? this.#allocateFenced(view);
        placed.set(key, room);
        const there = part(room, 0, view.length);
        device.write(there, bytes.slice());
        return [role, { view: there, rows, columns }];
      }),
    );
    device.wait(device.queue('compute').launch({ kernel: name, operands, arguments: call.arguments }));
    for (const room of placed.values()) this.#checkFence(name, room);
    kernel(call);
    for (const [role, { modes }] of roles) {
      if (!modes.some((mode) => mode !== 'read')) continue;
      const { view, bytes } = call.operand(role);
      const [got, expected] = [emptyHostArray(view), emptyHostArray(view)];
      device.read(operands[role].view, got);
      new Uint8Array(expected.buffer).set(bytes);
      this.#note(name, role, difference(got, expected));
    }
    const known = this.differences.get(name);
    if (known !== undefined) known.launches++;
    for (const view of placed.values()) device.free(view);
  }

  /**
   * Room with a fence behind it: what a kernel writes beyond an operand would hit another region, unseen by a
   * comparison of outputs.
   */
  #allocateFenced({ type, length }: View): View {
    const room = this.#device.allocate(type, length + fenceElements);
    this.#device.fill(room, fenceValue);
    return room;
  }

  #checkFence(name: KernelName, room: View): void {
    const end = part(room, room.length - fenceElements, fenceElements);
    const fence = emptyHostArray(end);
    this.#device.read(end, fence);
    if (fence.some((value) => value !== fenceValue))
      throw new Error(`kernel ${name} wrote behind an operand of ${room.length - fenceElements} elements`);
  }

  #note(name: string, role: string, error: number): void {
    const known = this.differences.get(name);
    if (known === undefined) this.differences.set(name, { launches: 0, worst: error, role });
    else if (!(error <= known.worst)) Object.assign(known, { worst: error, role });
  }
}

/** Trains on the CPU for some steps and follows it on the card. */
export function followSteps(model: MoeModel, steps: number, changes?: StepChanges): KernelDifference[] {
  const shadow = new Shadow();
  const device = CpuDevice.create({ bytes: 2 ** 28, kernels: shadow.kernels() });
  trainSteps(model, device, steps, changes);
  device.close();
  shadow.close();
  return [...shadow.differences].map(([kernel, worst]) => ({ kernel, ...worst }));
}
