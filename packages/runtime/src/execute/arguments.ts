/**
 * Arguments of a kernel's launch: the fields that its template gives, and what the catalogue names as bound, worked out
 * for this rank.
 */
import { coordinates } from '@monta/core/layout';
import { kernelSpec } from '@monta/core/schedule';
import type { Body, BoundArgument, Layout, ProgramNode, RowOrder, RowPairs, Scope } from '@monta/core';
import type { BoundArguments, StepArguments, TensorRun } from '../device/kernel-arguments.js';
import type { LayerRouting, ReturnedRequest, RoutingBook, RoutingShape } from '../rows/layer-routing.js';

type KernelBody = Extract<Body, { kind: 'kernel' }>;

/** Fields of the kernels that move rows. */
interface RowFields extends ReturnedRequest {
  readonly scope: Scope;
  readonly order: RowOrder;
  readonly pairs: RowPairs;
}

/** What bound arguments come from. */
export interface ArgumentSources {
  readonly layout: Layout;
  readonly rank: number;
  readonly routing: RoutingShape;
  readonly book: RoutingBook;
  /** Where parameters lie; empty where none are trained. */
  readonly tensors: readonly TensorRun[];
  readonly selectionBiases: readonly TensorRun[];
}

export class ArgumentBinder {
  /** Set before a program runs. */
  step: StepArguments = { targets: 0, number: 1 };
  readonly #sources: ArgumentSources;
  readonly #tp: BoundArguments['tp'];
  readonly #etp: BoundArguments['etp'];

  constructor(sources: ArgumentSources) {
    this.#sources = sources;
    const { layout, rank } = sources;
    const { tp, etp } = coordinates(layout, rank);
    this.#tp = { index: tp, size: layout.tp };
    this.#etp = { index: etp, size: layout.etp };
  }

  /**
   * Arguments of a kernel at a node. Plans of row moves follow when they are asked for, which the CPU does when the
   * kernel runs.
   */
  bind({ name, arguments: fields, work }: KernelBody, node: ProgramNode): Readonly<Record<string, unknown>> {
    const bound = kernelSpec(name)?.bound ?? [];
    if (bound.length === 0) return fields;
    const given: Record<string, unknown> = { ...fields };
    // Taken now: the next step has another.
    const { step } = this;
    for (const argument of bound) {
      const value = (): unknown =>
        this.#value({ argument, step, fields: fields as unknown as RowFields, kernelBody: work, node });
      Object.defineProperty(given, argument, { get: value, enumerable: true });
    }
    return given;
  }

  #value({
    argument,
    step,
    fields,
    kernelBody: { chunk, of },
    node,
  }: {
    readonly argument: BoundArgument;
    readonly step: StepArguments;
    readonly fields: RowFields;
    readonly kernelBody: KernelBody['work'];
    readonly node: ProgramNode;
  }): BoundArguments[BoundArgument] {
    const layer = (): LayerRouting => this.#sources.book.get(node);
    switch (argument) {
      case 'tp':
        return this.#tp;
      case 'etp':
        return this.#etp;
      case 'layer':
        return node.layer;
      case 'slice':
        return this.#sources.routing.slice;
      case 'step':
        return step;
      case 'tensors':
        return this.#sources.tensors;
      case 'selectionBiases':
        return this.#sources.selectionBiases;
      case 'send':
        return layer().send(fields.scope, fields.order, chunk, of);
      case 'arrived':
        return layer().arrived(fields.order, chunk, of);
      case 'section':
        return layer().section(fields.order, chunk, of);
      case 'returned':
        return layer().returned(fields);
      case 'segments':
        return layer().segments(chunk, of);
      case 'moves':
        return layer().moves(fields.pairs, chunk, of);
    }
  }
}
