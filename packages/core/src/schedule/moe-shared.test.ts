/**
 * Shared experts wait for nothing but their input, and nothing waits for them but the sum at the end: so they run
 * beside the routed rows' way.
 */
import { describe, expect, it } from 'vitest';
import { allStrategies } from '../../testing/strategies.js';
import { moeBackward } from './moe-backward.js';
import { moeForward } from './moe-forward.js';
import type { MoeShape } from './moe-shape.js';
import type { Template } from './schedule.js';

/** Tasks that come before an operation, through uses, `after` and lanes, the operation itself left out. */
function tasksBefore(template: Template, id: string): Set<string> {
  const byId = new Map(template.operations.map((operation, place) => [operation.id, { operation, place }]));
  const before = new Set<string>();
  const visit = (name: string): void => {
    const found = byId.get(name);
    if (found === undefined) return;
    const { operation, place } = found;
    const queue = `${operation.lane} ${operation.body.kind === 'collective' ? operation.body.group : ''}`;
    const ahead = template.operations
      .slice(0, place)
      .findLast((other) => `${other.lane} ${other.body.kind === 'collective' ? other.body.group : ''}` === queue);
    for (const next of [...operation.after, ...(ahead === undefined ? [] : [ahead.id])]) {
      if (before.has(next)) continue;
      before.add(next);
      visit(next);
    }
  };
  visit(id);
  return before;
}

const routed = ['pack', 'all_to_all', 'all_gather', 'place', 'experts', 'unplace', 'return', 'bind', 'router'];
const tasksOf = (ids: ReadonlySet<string>): string[] => [...new Set([...ids].map((id) => id.replace(/\.\d+$/u, '')))];

describe('shared experts', () => {
  it('run on a lane of their own: nothing routed before them, and no routed row waits for them', () => {
    const cases = allStrategies([2], [2]);
    expect(cases.length).toBeGreaterThan(10);
    for (const { layout, strategy } of cases) {
      const shape: MoeShape = {
        tokens: 16,
        hiddenSize: 8,
        expertFfn: 8,
        experts: 8,
        topK: 2,
        layout,
        dtype: 'f32',
        shared: { ffn: 8, gated: true },
      };
      const [forward, backward] = [moeForward(shape, strategy), moeBackward(shape, strategy)];
      for (const template of [forward, backward]) {
        const own = template.operations.filter(({ lane }) => lane === 'shared');
        expect(own.map(({ id }) => id)).toEqual(['shared']);
        for (const { id } of template.operations.filter(({ task }) => routed.includes(task)))
          expect(tasksBefore(template, id), `${template.name} ${id}`).not.toContain('shared');
      }
      expect(tasksOf(tasksBefore(forward, 'shared')).filter((task) => routed.includes(task))).toEqual([]);
      expect(tasksBefore(forward, 'shared.add')).toContain('shared');
    }
  });
});
