/**
 * Memory for what a dispatch computes besides: weights, their gradients, and what a forward pass keeps. All of it is
 * zero, so that the sums that such kernels add to the rows that travel are zero too, and results keep their closed
 * form.
 */
import type { Program, Region } from '@monta/core';
import type { Device } from '../device/device.js';
import type { View } from '../device/view.js';
import type { Regions } from './regions.js';

/** What the owner of a dispatch places itself. */
const placed: readonly string[] = ['moe.normed'];

/** What kernels keep: neither routing nor the buffers in which rows travel. */
const isComputed = ({ id, life, kept, order }: Region): boolean =>
  life === 'saved' && kept !== true && order !== 'chunks' && !placed.includes(id);

export class ZeroedRegions {
  readonly #views = new Map<string, View>();

  constructor(
    private readonly device: Device,
    private readonly programs: readonly Program[],
  ) {}

  /** A weight or a gradient of the programs; undefined for what they do not name. */
  parameter(id: string, rowsOf: Regions): View | undefined {
    const region = this.#declared().find((one) => one.life === 'parameter' && one.id === id);
    return region === undefined ? undefined : this.#view(region, rowsOf);
  }

  /** Places what experts keep from a forward pass; the routing has to be known. */
  place(regions: Regions): void {
    for (const region of this.#declared())
      if (isComputed(region)) regions.place(region.id, this.#view(region, regions));
  }

  close(): void {
    for (const view of this.#views.values()) this.device.free(view);
    this.#views.clear();
  }

  #declared(): Region[] {
    return this.programs.flatMap(({ templates }) => Object.values(templates).flatMap(({ regions }) => regions));
  }

  #view({ id, dtype, rows, columns }: Region, regions: Regions): View {
    const known = this.#views.get(id);
    if (known !== undefined) return known;
    const view = this.device.allocate(dtype === 'fp8' ? 'u8' : dtype, regions.rows(rows, 0) * columns);
    this.device.fill(view, 0);
    this.#views.set(id, view);
    return view;
  }
}
