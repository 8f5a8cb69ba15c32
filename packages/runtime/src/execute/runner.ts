/**
 * Runs a program on one rank: issues the operations of the compiled program in order, kernels to the device's queues
 * and collectives to communicators, each behind the events of what it waits for. It stops only where the host must know
 * something (`bind`), and at the end.
 */
import { collectiveUses, compile, spanLabel } from '@monta/core/schedule';
import type {
  Binding,
  CompiledOperation,
  CompiledProgram,
  Layout,
  Program,
  ProgramNode,
  Region,
  Span,
  Work,
} from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { Device, DeviceEvent, Operand } from '../device/device.js';
import type { View } from '../device/view.js';
import { Collectives, type CollectiveBody } from './collectives.js';
import { Regions, type OwnSlice, type ParameterViews } from './regions.js';
import { SpanRecorder, type SpanSubject } from './spans.js';

/** The regions of a node that has run, by id. */
export interface NodeRegions {
  /** Whether the node uses a region. */
  has(id: string): boolean;
  /** Throws when it does not. */
  region(id: string): Region;
  view(id: string): View;
}

/** Looks at the regions of a node that has just run, while their memory still stands. */
export type NodeObserver = (node: ProgramNode, regions: NodeRegions) => void;

export interface RunnerOptions {
  readonly layout: Layout;
  readonly endpoint: Endpoint;
  readonly device: Device;
  /** Asked with this rank and indices of the running program's nodes. */
  readonly binding: Binding;
  /** This rank's token slice. */
  readonly slice: OwnSlice;
  readonly parameters: ParameterViews;
  /** Arguments of a kernel at a node. */
  bind(body: KernelBody, node: ProgramNode): Readonly<Record<string, unknown>>;
  /** What a `bind` reads has arrived, by role. */
  bound?(node: ProgramNode, operands: Readonly<Record<string, Operand>>): void;
  /** Record a span for every operation; device and endpoint must trace too. */
  readonly trace?: boolean;
}

export type KernelBody = Extract<CompiledOperation['operation']['body'], { kind: 'kernel' }>;

export interface RunOptions {
  /** For spans. */
  readonly step?: number;
  /** Added to the number of every node, for spans. */
  readonly firstNode?: number;
  /** Makes the runner wait for the end of every node. */
  readonly observe?: NodeObserver | undefined;
}

export class ProgramRunner {
  readonly regions: Regions;
  readonly collectives: Collectives;
  readonly #options: RunnerOptions;
  readonly #compiled = new WeakMap<Program, CompiledProgram>();
  readonly #spans: SpanRecorder | undefined;
  /** Of the running program, by operation. */
  #events: (DeviceEvent | undefined)[] = [];
  #ended = new Uint8Array(0);
  #firstNode = 0;
  #program: CompiledProgram | undefined;
  /** Place in its queue of the last bind. */
  #bound = 0;

  constructor(options: RunnerOptions) {
    const { device, endpoint, layout, binding } = options;
    this.#options = options;
    this.regions = new Regions({ ...options, rank: endpoint.rank });
    this.collectives = new Collectives(endpoint, device, layout, binding);
    this.#spans = options.trace === true ? new SpanRecorder(endpoint, device) : undefined;
  }

  /** Runs a program to its end. */
  run(program: Program, { step = 0, firstNode = 0, observe }: RunOptions = {}): void {
    const compiled = this.#compile(program);
    this.#events = [];
    this.#ended = new Uint8Array(compiled.operations.length);
    this.#firstNode = firstNode;
    this.#program = compiled;
    this.#bound = 0;
    this.regions.begin(compiled);
    // Times of programs that follow one another count from the start of the first.
    if (firstNode === 0) this.#spans?.begin(step);
    compiled.nodes.forEach(({ first, count }, node) => {
      for (let index = first; index < first + count; index++) {
        const operation = compiled.operations[index];
        this.#issue(operation, program.nodes[node]);
        if (observe !== undefined && index + 1 === first + count) {
          this.#wait(first);
          observe(program.nodes[node], this.#regionsOf(node, program.nodes[node]));
        }
        this.regions.issued(operation);
      }
      this.#spans?.collect();
    });
    this.#wait(0);
  }

  /** Spans since the last call, times in seconds from the start of the last run; empty unless tracing. */
  takeSpans(): Span[] {
    return this.#spans?.take() ?? [];
  }

  #compile(program: Program): CompiledProgram {
    let compiled = this.#compiled.get(program);
    if (compiled === undefined) this.#compiled.set(program, (compiled = compile(program)));
    return compiled;
  }

  #issue(compiled: CompiledOperation, node: ProgramNode): void {
    const { operation, index } = compiled;
    const { body } = operation;
    const waits = this.regions.open(compiled, this.#hasEnded);
    const after = this.#eventsOf([...compiled.after, ...waits]);
    switch (body.kind) {
      case 'kernel':
        this.#events[index] = this.#launch(compiled, body, node, after);
        return;
      case 'collective':
        this.#events[index] = this.#submit(compiled, body, after);
        return;
      case 'bind':
        this.#reach(compiled, after);
        this.#options.bound?.(node, this.#operands(compiled));
        this.#ended[index] = 1;
    }
  }

  /** Waits for what a bind comes after, which on its own queue is all that was issued before it. */
  #reach({ index, queue }: CompiledOperation, after: readonly DeviceEvent[]): void {
    const { device } = this.#options;
    for (const event of after) device.wait(event);
    const before = this.#program?.queues[queue].operations ?? [];
    for (let place = before.indexOf(index, this.#bound) - 1; place >= this.#bound; place--) {
      const event = this.#events[before[place]];
      if (event !== undefined && this.#ended[before[place]] === 0) device.wait(event);
      this.#ended[before[place]] = 1;
    }
    this.#bound = before.indexOf(index, this.#bound);
  }

  #launch(
    compiled: CompiledOperation,
    body: KernelBody,
    node: ProgramNode,
    after: readonly DeviceEvent[],
  ): DeviceEvent {
    const operands = this.#operands(compiled);
    const launch = { kernel: body.name, operands, arguments: this.#options.bind(body, node) };
    const event = this.#options.device.queue(this.#queueOf(compiled)).launch(launch, after);
    this.#note(compiled, event, () => ({ bytes: this.#bytes(body.work, compiled.node) }));
    return event;
  }

  #submit(compiled: CompiledOperation, body: CollectiveBody, after: readonly DeviceEvent[]): DeviceEvent {
    const { operation } = compiled;
    const uses = collectiveUses(operation);
    const operandOf = (use: typeof uses.from): Operand => this.regions.operand(compiled, operation.uses.indexOf(use));
    const moved = { from: operandOf(uses.from), to: operandOf(uses.to) };
    const queue = this.#queueOf(compiled);
    if (this.collectives.members(body.group).length === 1) {
      // A collective of a single rank moves its rows within the rank's memory, or nothing.
      const event = this.#options.device
        .queue(queue)
        .launch({ kernel: 'copy', operands: { ...moved }, arguments: {} }, after);
      this.#note(compiled, event, () => ({}));
      return event;
    }
    const communicator = this.collectives.communicator(body.group, queue);
    const event = this.collectives.submit({
      compiledOperation: compiled,
      body,
      moved,
      communicator,
      options: { after, label: compiled.name },
    });
    this.#note(compiled, event, () => ({ collective: this.collectives.noteOf(body) }));
    return event;
  }

  #queueOf({ queue, operation }: CompiledOperation): string {
    return this.#program?.queues[queue].id ?? operation.lane;
  }

  #operands(compiled: CompiledOperation): Record<string, Operand> {
    const operands: Record<string, Operand> = {};
    compiled.operation.uses.forEach(({ role }, place) => (operands[role] = this.regions.operand(compiled, place)));
    return operands;
  }

  /** Events of those operations that may not have ended. */
  #eventsOf(operations: readonly number[]): DeviceEvent[] {
    return operations.flatMap((operation) => {
      const event = this.#events[operation];
      return event === undefined || this.#ended[operation] === 1 ? [] : [event];
    });
  }

  /** Whether an operation is known to have ended. */
  readonly #hasEnded = (operation: number): boolean => this.#ended[operation] === 1;

  /** Waits for all operations from `first` on that have been issued. */
  #wait(first: number): void {
    for (let index = first; index < this.#events.length; index++) {
      const event = this.#events[index];
      if (event === undefined || this.#ended[index] === 1) continue;
      this.#options.device.wait(event);
      this.#ended[index] = 1;
      this.#spans?.collect();
    }
  }

  #regionsOf(index: number, node: ProgramNode): NodeRegions {
    const find = (id: string) => {
      const found = this.regions.ofNode(index, id);
      if (found === undefined) throw new Error(`${node.template}: region ${id} is not used`);
      return found;
    };
    return {
      has: (id) => this.regions.ofNode(index, id) !== undefined,
      region: (id) => find(id).region,
      view: (id) => find(id).view,
    };
  }

  #bytes({ fixedBytes, bytesPerRow, rows, chunk, of }: Work, node: number): number {
    return fixedBytes + bytesPerRow * this.regions.rows(rows, node, chunk, of);
  }

  #note({ operation, template, node }: CompiledOperation, event: DeviceEvent, more: () => Partial<SpanSubject>): void {
    if (this.#spans === undefined) return;
    const label = spanLabel(template, operation);
    this.#spans.submitted(event, { label, node: this.#firstNode + node, ...more() });
  }
}
