/** Tells who waits for whom when a run came to rest before its end. */
import { InputError } from '../units/index.js';
import type { Run } from './engine.js';
import type { Channel } from './groups.js';
import type { FlatProgram } from './rank-state.js';

/** As many waiting operations as a message names. */
const shown = 8;

/**
 * The error for a run in which some operation never ended, else undefined. It names the operations that wait, and for
 * what.
 */
export function deadlock(
  programs: readonly FlatProgram[],
  programOf: readonly number[],
  channels: readonly (readonly (Channel | undefined)[])[],
  run: Run,
): InputError | undefined {
  const waiting: string[] = [];
  programOf.forEach((which, rank) => {
    const flat = programs[which];
    if (!flat || (run.ended[rank] ?? 0) === flat.operations.length) return;
    const happenings = run.happenings[rank] ?? [];
    const ended = (index: number): boolean => {
      const happening = happenings[index];
      return happening !== undefined && happening.finished;
    };
    for (const { id, operations } of flat.compiled.queues) {
      const index = operations.find((candidate) => !ended(candidate));
      const operation = index === undefined ? undefined : flat.operations[index];
      if (index === undefined || !operation) continue;
      const name = `rank ${rank} ${id}: ${operation.name} of node ${operation.node}`;
      const channel = channels[rank]?.[index];
      if (happenings[index] && channel) {
        const absent = channel.members.filter(
          (member) => member !== rank && !arrived({ channel, rank, member, channels, run }),
        );
        waiting.push(
          `${name} waits for ${absent.length > 0 ? `rank ${absent.join(', ')}` : 'its bytes, which do not move'}`,
        );
        continue;
      }
      const before = operation.after.filter((other) => !ended(other)).map((other) => flat.operations[other]?.name);
      waiting.push(`${name} waits for ${before.length > 0 ? before.join(', ') : 'the host to issue it'}`);
    }
  });
  if (waiting.length === 0) return undefined;
  const more = waiting.length > shown ? `\nand ${waiting.length - shown} more` : '';
  return new InputError(`the programs deadlock:\n${waiting.slice(0, shown).join('\n')}${more}`, {
    expected: 'dependencies and lanes in which all ranks can go on',
    hint: 'put collectives of the same groups on one lane, or in the same order on all ranks',
  });
}

/** Whether a member has brought as many collectives to a channel as `rank` has. */
function arrived({
  channel,
  rank,
  member,
  channels,
  run,
}: {
  readonly channel: Channel;
  readonly rank: number;
  readonly member: number;
  readonly channels: readonly (readonly (Channel | undefined)[])[];
  readonly run: Run;
}): boolean {
  const brought = (who: number): number =>
    (channels[who] ?? []).filter((other, index) => other === channel && run.happenings[who]?.[index] !== undefined)
      .length;
  return brought(member) >= brought(rank);
}
