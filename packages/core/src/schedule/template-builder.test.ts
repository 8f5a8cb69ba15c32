import { describe, expect, it } from 'vitest';
import { rowsRegion, work } from './moe-shape.js';
import { moeBackward } from './moe-backward.js';
import { moeForward } from './moe-forward.js';
import type { MoeShape } from './moe-shape.js';
import { allStrategies, layoutOf } from '../../testing/strategies.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';

const w = work('memory', 1, { bytes: 1 });

function builder(): TemplateBuilder {
  const b = new TemplateBuilder();
  for (const id of ['x', 'y']) b.region(rowsRegion(id, { dtype: 'f32' }, 8, 1, 'rows'));
  return b;
}

describe('template builder', () => {
  it('derives dependencies chunk by chunk across lanes', () => {
    const b = builder();
    b.kernel('a0', 'k', w, [write('x', 0, 2)], 'copy');
    b.kernel('a1', 'k', w, [write('x', 1, 2)], 'copy');
    b.kernel('read first third', 'k', w, [read('x', 0, 3)], 'compute');
    b.kernel('read middle third', 'k', w, [read('x', 1, 3)], 'compute');
    const after = Object.fromEntries(b.build('t', 'replicated', 'replicated').operations.map((o) => [o.id, o.after]));
    expect(after['read first third']).toEqual(['a0']);
    expect(after['read middle third']).toEqual(['a0', 'a1']);
  });

  it('keeps writers behind readers, and lets readers run together', () => {
    const b = builder();
    b.kernel('w', 'k', w, [write('x')], 'copy');
    b.kernel('r', 'k', w, [read('x')], 'compute');
    b.collective('c', 'inter', { name: 'all_reduce', group: 'tp' }, [add('x')]);
    b.kernel('other', 'k', w, [write('y')], 'intra');
    const after = Object.fromEntries(b.build('t', 'replicated', 'replicated').operations.map((o) => [o.id, o.after]));
    expect(after).toEqual({ w: [], r: ['w'], c: ['w', 'r'], other: [] });
  });

  it('refuses undeclared regions and repeated names', () => {
    const b = builder();
    expect(() => b.kernel('k', 'k', w, [read('z')])).toThrow(/z, not declared/);
    b.kernel('k', 'k', w, [read('x')]);
    expect(() => b.kernel('k', 'k', w, [read('x')])).toThrow(/twice/);
    expect(() => b.region(rowsRegion('x', { dtype: 'f32' }, 9, 1, 'rows'))).toThrow(/different shapes/);
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
            const there = given.has(region) || chunks.has('all') || chunks.has(`${chunk}/${of}`) || completes(chunks);
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
