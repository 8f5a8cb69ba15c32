/** What travels between stages of a pipeline as templates: the residual stream forward, its gradient backward. */
import { activationOf } from './moe-shape.js';
import { statisticsRegion, streamRegion } from './moe-parts.js';
import type { Pass, Template } from './schedule.js';
import { moeShape, type StepShape } from './step-shape.js';
import { read, TemplateBuilder, write } from './template-builder.js';
import { memoized } from '../units/memoized.js';
import { memoryWork } from './work.js';

/**
 * Whom a rank sends to, or receives from, in its group of stages: forward hands activations to the next, backward
 * gradients to the one before. The last one's next is the first, which holds a later virtual stage.
 */
export function peerOf(
  members: readonly number[],
  rank: number,
  { name, pass }: { readonly name: 'send' | 'receive'; readonly pass: Pass },
): number {
  const step = (pass === 'backward' ? -1 : 1) * (name === 'send' ? 1 : -1);
  return members[(members.indexOf(rank) + step + members.length) % members.length] ?? rank;
}

type Direction = 'forward' | 'backward';
const directions: readonly Direction[] = ['forward', 'backward'];

const transferName = (name: 'receive' | 'send', pass: Direction): string => `${name}.${pass}`;
const sends: ReadonlySet<string> = new Set(directions.map((pass) => transferName('send', pass)));
const receives: ReadonlySet<string> = new Set(directions.map((pass) => transferName('receive', pass)));

/** Whether a node's template sends to another stage. */
export const isSend = (template: string): boolean => sends.has(template);
/** Whether it sends to another stage or receives from one. */
export const isTransfer = (template: string): boolean => sends.has(template) || receives.has(template);

/**
 * `receive.forward`, `send.forward`, `receive.backward` and `send.backward`, which all stages share; none without a
 * pipeline.
 */
export const transferTemplates = memoized((step: StepShape): Template[] => {
  if (step.layout.pp === 1) return [];
  return directions.flatMap((pass) => (['receive', 'send'] as const).map((name) => transfer(step, name, pass)));
});

function transfer(step: StepShape, name: 'receive' | 'send', pass: Direction): Template {
  const shape = moeShape(step);
  const activation = activationOf(step.layout);
  const builder = new TemplateBuilder();
  const region = builder.region(streamRegion(pass === 'forward' ? 'stream' : 'gradient', shape));
  const buffer = name === 'send' ? read(region) : write(region);
  builder.collective({
    id: transferName(name, pass),
    lane: 'inter',
    collective: { name, group: 'pp' },
    operands: { buffer },
  });
  // Where the embedding starts a micro-batch, it does this.
  if (name === 'receive' && pass === 'forward')
    builder.kernel({
      id: 'statistics',
      kernel: 'fill',
      operands: { to: write(builder.region(statisticsRegion(shape.experts))) },
      arguments: { value: 0 },
      work: memoryWork('copy', 8 * shape.experts, { rows: 1 }),
    });
  return builder.build(transferName(name, pass), activation, activation);
}
