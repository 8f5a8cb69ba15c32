/** A rank's communicators by lane and name: made once, with members that make sense. */
import type { Queue } from '../device/device.js';
import type { Communicator } from './communicator.js';

export class Communicators {
  private readonly made = new Map<string, Communicator>();

  constructor(
    private readonly rank: number,
    /** Of the job. */
    private readonly size: number,
  ) {}

  /**
   * The communicator `lane/name`; `make` is called with that title the first time. Throws when the members make no
   * sense, or differ from before.
   */
  get(
    { lane }: Queue,
    name: string,
    members: readonly number[],
    make: (title: string, lane: string) => Communicator,
  ): Communicator {
    const title = `${lane}/${name}`;
    const known = this.made.get(title);
    if (known !== undefined) {
      if (known.members.length === members.length && known.members.every((member, place) => member === members[place]))
        return known;
      throw new Error(
        `communicator ${title} exists on rank ${this.rank} with members ${known.members.join(' ')}; it cannot be ` +
          `made again with ${members.join(' ')}`,
      );
    }
    this.check(title, members);
    const communicator = make(title, lane);
    this.made.set(title, communicator);
    return communicator;
  }

  private check(title: string, members: readonly number[]): void {
    const wrong = members.some((member) => !Number.isInteger(member) || member < 0 || member >= this.size);
    if (!wrong && members.includes(this.rank) && new Set(members).size === members.length) return;
    throw new Error(
      `communicator ${title}: members must be different ranks of 0..${this.size - 1} with rank ${this.rank} among ` +
        `them, got ${members.join(' ')}`,
    );
  }
}
