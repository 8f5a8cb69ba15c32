/** The queues of a rank, with transfers whose end the test decides. */
import { TemplateBuilder, read, write, work, type Template } from '@monta/core';
import { describe, expect, it } from 'vitest';
import type { CommEvent } from '../comm/communicator.js';
import { compileTemplate } from './compile.js';
import { Lanes } from './lanes.js';
import { LoneEndpoint } from '../../testing/execute/lone-rank.js';

/** Transfers end in the order in which somebody has to wait; the log shows what ran between. */
class ScriptedEndpoint extends LoneEndpoint {
  constructor(readonly log: string[]) {
    super();
  }
  override waitAny(events: readonly CommEvent[]): void {
    const ends = Math.min(...events.map(({ id }) => id));
    this.log.push(`wait`);
    this.record({ id: ends });
  }
}

function run(template: Template): string[] {
  const log: string[] = [];
  const endpoint = new ScriptedEndpoint(log);
  const lanes = new Lanes(endpoint);
  lanes.beginNode();
  for (const compiled of compileTemplate(template).operations) {
    const { id, body } = compiled.operation;
    if (body.kind === 'collective') {
      lanes.eventsBefore(compiled);
      lanes.collective(compiled, endpoint.createEvent());
    } else lanes.kernel(compiled, () => log.push(id));
  }
  lanes.drain();
  return log;
}

const free = work('memory', 1, { bytes: 0 });
const exchange = { name: 'all_to_all', group: 'ep' } as const;

function builderWith(...regions: string[]): TemplateBuilder {
  const builder = new TemplateBuilder();
  for (const id of regions) builder.region({ id, dtype: 'f32', rows: 1, columns: 1, order: 'rows', life: 'layer' });
  return builder;
}

describe('lanes', () => {
  it('computes while transfers are under way, and waits only when nothing can run', () => {
    const builder = builderWith('a', 'b', 'c', 'weights');
    builder.kernel('pack', 'k', free, [write('a')], 'copy');
    builder.collective('return', 'inter', exchange, [read('a'), write('b')]);
    builder.kernel('weightGradient', 'k', free, [write('weights')]);
    builder.kernel('sum', 'k', free, [read('b'), write('c')]);
    expect(run(builder.build('t', 'replicated', 'replicated'))).toEqual(['pack', 'weightGradient', 'wait', 'sum']);
  });

  it('a queue whose head waits does not hold up the other, but keeps its own order', () => {
    const builder = builderWith('a', 'b', 'c', 'd', 'e');
    builder.collective('arrive', 'inter', exchange, [read('a'), write('b')]);
    builder.kernel('needsArrival', 'k', free, [read('b'), write('c')]);
    builder.kernel('behindIt', 'k', free, [write('d')]);
    builder.kernel('copyBeside', 'k', free, [write('e')], 'copy');
    expect(run(builder.build('t', 'replicated', 'replicated'))).toEqual([
      'copyBeside',
      'wait',
      'needsArrival',
      'behindIt',
    ]);
  });

  it('orders two collectives of different groups on one lane that touch the same rows', () => {
    const builder = builderWith('a', 'b', 'c');
    builder.collective('first', 'inter', exchange, [read('a'), write('b')]);
    builder.collective('second', 'inter', { name: 'all_reduce', group: 'dp' }, [read('b'), write('c')]);
    const compiled = compileTemplate(builder.build('t', 'replicated', 'replicated'));
    expect(compiled.operations[1].after).toEqual([0]);
  });

  it('a kernel that waits for nothing under way is an error, not a hang', () => {
    const builder = builderWith('a');
    builder.kernel('one', 'k', free, [write('a')]);
    const [compiled] = compileTemplate(builder.build('t', 'replicated', 'replicated')).operations;
    const lanes = new Lanes(new LoneEndpoint());
    lanes.beginNode();
    lanes.kernel({ ...compiled, after: [0] }, () => undefined);
    expect(() => lanes.drain()).toThrow(/stuck/);
  });
});
