/** A rank's process of a job without cards: meets the others, hears from each, and returns what it heard. */
import { Mesh } from '#runtime/comm/nccl/mesh.js';
import { joinJob } from '#runtime/launch/nccl-join.js';

export interface MeshJob {
  /** What rank 1 does; only talks unless given. */
  readonly fault?: 'exits';
}

export interface MeshRank {
  readonly rank: number;
  readonly pid: number;
  /** Whether the ranks met at paths or at `ip:port`. */
  readonly overTcp: boolean;
  /** By rank, what each said. */
  readonly heard: readonly (readonly [from: number, said: number])[];
  readonly loopback: string | undefined;
}

await joinJob(async (job) => {
  const { rank, size, meeting, token, description } = job;
  const { fault } = description.data as MeshJob;
  const heard: [number, number][] = [];
  const mesh = new Mesh({ rank, size, meeting, token, check: () => undefined, startSeconds: 30 }, (from, message) => {
    if (message.kind === 'started') heard.push([from, message.sequence]);
  });
  if (rank === 1 && fault === 'exits') process.exit(3);
  for (let other = 0; other < size; other++)
    if (other !== rank) mesh.send(other, { kind: 'started', channel: '', sequence: 100 * rank + other, seconds: 0 });
  while (heard.length < size - 1 || !mesh.quiet) {
    if (job.aborted() !== undefined) process.exit(1);
    mesh.poll();
  }
  await job.returned({
    rank,
    pid: process.pid,
    overTcp: !(meeting.addresses[0] ?? '').startsWith('/'),
    heard: heard.sort(([a], [b]) => a - b),
    loopback: process.env['NCCL_SOCKET_IFNAME'],
  } satisfies MeshRank);
});
