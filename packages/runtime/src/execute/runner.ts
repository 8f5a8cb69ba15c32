/**
 * Runs a program on one rank: a host loop walks each template's operations in issue order, submits collectives at once and queues kernels;
 * it drains the queues where the host must know something (`bind`) and at the end of a node, whose successors wait for it.
 */
import {
  spanLabel,
  type Binding,
  type Layout,
  type Program,
  type ProgramNode,
  type Span,
  type Template,
} from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { CpuMemory } from '../device/cpu/index.js';
import { Arena } from './arena.js';
import { Collectives } from './collectives.js';
import { compileTemplate, type CompiledOperation, type CompiledTemplate } from './compile.js';
import { KernelCall, type KernelRegistry } from './kernel.js';
import { Lanes } from './lanes.js';
import { Storage } from './storage.js';
import { SpanRecorder, type SpanSubject } from './spans.js';

/** What the owner of a runner does around nodes. */
export interface RunnerHooks {
  /** Whether the counts of a node are known before it runs. */
  countsKnown(node: ProgramNode): boolean;
  /** The node's regions have memory. */
  opened?(node: ProgramNode, storage: Storage): void;
  /** The counts that a `bind` waits for have arrived. */
  bind?(node: ProgramNode, storage: Storage): void;
  /** All operations of the node have ended, its memory still stands. */
  closing?(node: ProgramNode, storage: Storage): void;
}

export interface RunnerOptions {
  readonly layout: Layout;
  readonly endpoint: Endpoint;
  readonly memory: CpuMemory;
  readonly kernels: KernelRegistry;
  /** Asked with this rank and indices of the running program's nodes. */
  readonly binding: Binding;
  readonly hooks: RunnerHooks;
  /** Record a span for every operation; the endpoint must trace too. */
  readonly trace?: boolean;
}

export class ProgramRunner {
  readonly storage: Storage;
  readonly collectives: Collectives;
  readonly #options: RunnerOptions;
  readonly #arena: Arena;
  readonly #lanes: Lanes;
  readonly #compiled = new Map<Template, CompiledTemplate>();
  readonly #spans: SpanRecorder | undefined;

  constructor(options: RunnerOptions) {
    const { memory, endpoint, layout, binding } = options;
    this.#options = options;
    this.#arena = new Arena(memory);
    this.storage = new Storage(memory, this.#arena, binding, endpoint.rank);
    this.collectives = new Collectives(endpoint, layout, binding);
    this.#lanes = new Lanes(endpoint);
    this.#spans = options.trace === true ? new SpanRecorder(endpoint) : undefined;
  }

  /** Bytes of regions and scratch at the highest point so far; without what the caller placed itself. */
  get peakBytes(): number {
    return this.#arena.peakBytes;
  }

  /** Runs all nodes. `step` is written into spans. */
  run(program: Program, step = 0): void {
    this.storage.begin(program);
    program.nodes.forEach((node, index) => this.#runNode(program.templates[node.template], node, index, step));
  }

  /** Spans since the last call, times in seconds from the start of the last run; empty unless tracing. */
  takeSpans(): Span[] {
    return this.#spans?.take() ?? [];
  }

  #runNode(template: Template, node: ProgramNode, index: number, step: number): void {
    const { hooks } = this.#options;
    const { operations } = this.#compile(template);
    this.storage.openNode(template, node, index, hooks.countsKnown(node));
    hooks.opened?.(node, this.storage);
    if (index === 0) this.#spans?.begin(step);
    this.#lanes.beginNode();
    for (const compiled of operations) this.#issue(compiled, template, node, index);
    this.#lanes.drain();
    this.#spans?.collect();
    hooks.closing?.(node, this.storage);
    this.storage.closeNode();
  }

  #issue(compiled: CompiledOperation, template: Template, node: ProgramNode, index: number): void {
    const { operation } = compiled;
    const { body } = operation;
    const label = spanLabel(template, operation);
    const { operation: name } = label;
    switch (body.kind) {
      case 'kernel': {
        const kernel = this.#options.kernels[body.name];
        if (kernel === undefined) throw new Error(`${name}: no kernel ${body.name} is registered`);
        const call = new KernelCall(operation, node, this.storage, this.#options.memory);
        const work = body.work;
        const bytes = (): number =>
          work.fixedBytes + work.bytesPerRow * this.storage.rows(work.rows, work.chunk, work.of);
        this.#lanes.kernel(compiled, () => this.#timed({ label, node: index }, bytes, () => kernel(call)));
        return;
      }
      case 'collective': {
        if (this.collectives.groupSize(body.group) === 1) {
          this.#lanes.kernel(compiled, () => this.#copyOfOne(compiled));
          return;
        }
        const after = this.#lanes.eventsBefore(compiled);
        const event = this.collectives.submit(operation, body, this.storage, index, { after, label: name });
        const collective = this.collectives.noteOf(body);
        this.#spans?.submitted(event.id, { label, node: index, collective });
        this.#lanes.collective(compiled, event);
        return;
      }
      case 'bind':
        this.#lanes.kernel(compiled, () => {
          this.#options.hooks.bind?.(node, this.storage);
          this.storage.countsKnown();
        });
        this.#lanes.drainUntil([compiled.index]);
    }
  }

  /** A collective of a single rank moves its rows within the rank's memory, or nothing. */
  #copyOfOne({ operation: { uses } }: CompiledOperation): void {
    const { memory } = this.#options;
    const [from, to] = [this.storage.useView(uses[0]), this.storage.useView(uses[uses.length - 1])];
    if (from.byteOffset !== to.byteOffset) memory.u8(to).set(memory.u8(from));
  }

  #timed(subject: SpanSubject, bytes: () => number, run: () => void): void {
    if (this.#spans === undefined) {
      run();
      return;
    }
    const start = this.#options.endpoint.now();
    run();
    this.#spans.kernel(subject, start, this.#options.endpoint.now(), bytes());
  }

  #compile(template: Template): CompiledTemplate {
    let compiled = this.#compiled.get(template);
    if (compiled === undefined) {
      compiled = compileTemplate(template);
      this.#compiled.set(template, compiled);
    }
    return compiled;
  }
}
