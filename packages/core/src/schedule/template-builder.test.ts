import { describe, expect, it } from 'vitest';
import { rowsRegion } from './moe-shape.js';
import { memoryWork } from './work.js';
import { moeBackward } from './moe-backward.js';
import { moeForward } from './moe-forward.js';
import type { MoeShape } from './moe-shape.js';
import type { Lane } from './schedule.js';
import { allStrategies, layoutOf } from '../../testing/strategies.js';
import { add, read, TemplateBuilder, write, type KernelOperation, type Operand } from './template-builder.js';

const w = memoryWork('copy', 1, { rows: 1 });

function builder(): TemplateBuilder {
  const b = new TemplateBuilder();
  for (const id of ['x', 'y', 'z'])
    b.region(rowsRegion({ id, shape: { dtype: 'f32' }, rows: 8, columns: 1, order: 'rows' }));
  return b;
}

/** A kernel that reads a region, writes one, or both. */
const copy = (b: TemplateBuilder, id: string, from: Operand, to: Operand, lane: Lane = 'compute'): void =>
  b.kernel({ id, kernel: 'copy', operands: { from, to }, work: w, lane });
const fill = (b: TemplateBuilder, id: string, to: Operand, lane: Lane = 'compute'): void =>
  b.kernel({ id, kernel: 'fill', operands: { to }, arguments: { value: 0 }, work: w, lane });

describe('template builder', () => {
  it('derives dependencies chunk by chunk across lanes', () => {
    const b = builder();
    fill(b, 'a0', write('x', 0, 2), 'copy');
    fill(b, 'a1', write('x', 1, 2), 'copy');
    copy(b, 'read first third', read('x', 0, 3), write('y', 0, 2));
    copy(b, 'read middle third', read('x', 1, 3), write('y', 1, 2));
    const after = Object.fromEntries(b.build('t', 'replicated', 'replicated').operations.map((o) => [o.id, o.after]));
    expect(after['read first third']).toEqual(['a0']);
    expect(after['read middle third']).toEqual(['a0', 'a1']);
  });

  it('keeps writers behind readers, and lets readers run together', () => {
    const b = builder();
    fill(b, 'w', write('x'), 'copy');
    copy(b, 'r', read('x'), write('y'));
    b.collective({
      id: 'c',
      lane: 'inter',
      collective: { name: 'all_reduce', group: 'tp' },
      operands: { buffer: add('x') },
    });
    fill(b, 'other', write('z'), 'intra');
    const after = Object.fromEntries(b.build('t', 'replicated', 'replicated').operations.map((o) => [o.id, o.after]));
    expect(after).toEqual({ w: [], r: ['w'], c: ['w', 'r'], other: [] });
  });

  it('does for other chunks what is written for the first', () => {
    const of = 3;
    const write3 = (b: TemplateBuilder) => (chunk: number) => {
      const id = (task: string) => ({ task, chunk, of });
      const work = memoryWork('copy', 4, { rows: 8, chunk, of });
      const operands = { from: read('x', chunk, of), to: write('y', chunk, of) };
      b.kernel({ id: id('pack'), kernel: 'copy', operands, work, lane: 'copy' });
      const collective = { name: 'all_to_all', group: 'ep' } as const;
      b.collective({
        id: id('move'),
        lane: 'inter',
        collective,
        operands: { from: read('y', chunk, of), to: add('z') },
      });
    };
    const [each, repeated] = [builder(), builder()];
    const first = repeated.eachChunk(write3(repeated));
    expect(() => first(1)).toThrow(/before chunk 0/);
    for (let chunk = 0; chunk < of; chunk++) {
      write3(each)(chunk);
      first(chunk);
    }
    const build = (b: TemplateBuilder) => b.build('t', 'replicated', 'replicated');
    expect(build(repeated)).toEqual(build(each));
    const whole = builder();
    const once = whole.eachChunk((chunk) => fill(whole, `k${chunk}`, write('x')));
    once(0);
    expect(() => once(1)).toThrow(/no piece of a task/);
  });

  it('refuses undeclared regions and repeated names', () => {
    const b = builder();
    expect(() => fill(b, 'k', write('v'))).toThrow(/v, not declared/);
    fill(b, 'k', write('x'));
    expect(() => fill(b, 'k', write('x'))).toThrow(/twice/);
    expect(() =>
      b.region(rowsRegion({ id: 'x', shape: { dtype: 'f32' }, rows: 9, columns: 1, order: 'rows' })),
    ).toThrow(/different shapes/);
  });

  it('refuses kernels that are not used as the catalogue says', () => {
    // The types refuse most of these; a template from elsewhere is refused when it is built.
    const misused =
      (kernel: string, operands: object, given: object = {}) =>
      () =>
        builder().kernel({
          id: 'k',
          kernel,
          operands,
          arguments: given,
          work: w,
        } as unknown as KernelOperation<'copy'>);
    expect(misused('copi', {})).toThrow(/there is no kernel copi/);
    expect(misused('copy', { from: read('x') })).toThrow(/copy needs an operand for to/);
    expect(misused('copy', { from: read('x'), to: write('y'), also: read('x') })).toThrow(/copy has no role also/);
    expect(misused('copy', { from: read('x'), to: add('y') })).toThrow(/copy takes to to write, not to add/);
    expect(misused('fill', { to: write('x') })).toThrow(/fill needs the argument value, a number/);
    expect(misused('fill', { to: write('x') }, { value: 'zero' })).toThrow(/fill needs the argument value, a number/);
    expect(misused('copy', { from: read('x'), to: write('y') }, { value: 1 })).toThrow(/copy has no argument value/);
    const norm = {
      normedGradient: read('x'),
      kept: read('x'),
      weight: read('x'),
      gradient: add('y'),
      weightGradient: add('z'),
    };
    expect(misused('norm.backward', norm, { epsilon: 1, accumulate: false })).toThrow(/accumulate false .* to add/);
    expect(misused('norm.backward', norm, { epsilon: 1, accumulate: true })).not.toThrow();
  });
});

describe('MoE templates', () => {
  const shape: MoeShape = {
    tokens: 64,
    hiddenSize: 16,
    expertFfn: 32,
    experts: 8,
    topK: 2,
    layout: layoutOf(),
    dtype: 'f32',
  };

  it('read nothing that was not written before, in the template or by an earlier pass', () => {
    const unwritten: string[] = [];
    for (const { layout, strategy } of allStrategies([1, 3], [1, 2])) {
      const given = new Set(['stream', 'gradient', 'router.statistics']);
      for (const template of [
        moeForward({ ...shape, layout }, strategy),
        moeBackward({ ...shape, layout }, strategy),
      ]) {
        const written = new Map<string, Set<string>>();
        for (const operation of template.operations)
          for (const { region, chunk, of, mode } of operation.uses) {
            const chunks = written.get(region) ?? new Set();
            const there =
              region.startsWith('weights/') ||
              given.has(region) ||
              chunks.has('all') ||
              chunks.has(`${chunk}/${of}`) ||
              completes(chunks);
            if (mode === 'read' && !there)
              unwritten.push(`${template.name}/${operation.id} reads ${region} ${chunk}/${of}`);
            if (mode !== 'read') chunks.add(of === 1 ? 'all' : `${chunk}/${of}`);
            written.set(region, chunks);
          }
        for (const region of template.regions) if (region.life === 'saved') given.add(region.id);
      }
    }
    expect(unwritten).toEqual([]);
  });
});

/** Whether chunks 0..n-1 of some n are all there. */
function completes(chunks: ReadonlySet<string>): boolean {
  for (const entry of chunks) {
    const of = Number(entry.split('/')[1]);
    if (of > 0 && Array.from({ length: of }, (_, chunk) => chunks.has(`${chunk}/${of}`)).every(Boolean)) return true;
  }
  return false;
}
