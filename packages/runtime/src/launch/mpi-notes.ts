/**
 * Reads what mpirun writes on its standard error: passes on what ranks wrote, and finds out of which rank mpirun says
 * that it ended.
 */

/** mpirun frames its own messages with lines of dashes. */
const frame = /^-{60,}$/;
const keptLines = 40;

export interface MpirunVerdict {
  readonly rank: number;
  readonly reason: string;
}

export class MpirunNotes {
  private rest = '';
  private inside = false;
  private readonly notes: string[] = [];
  private readonly lines: string[] = [];

  /** `pass` gets whole lines of ranks. */
  constructor(private readonly pass: (line: string) => void) {}

  push(text: string): void {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) {
      if (frame.test(line)) {
        this.inside = !this.inside;
        continue;
      }
      if (this.inside) this.notes.push(line);
      else {
        this.lines.push(line);
        if (this.lines.length > keptLines) this.lines.shift();
        this.pass(line);
      }
    }
  }

  /** The rank that mpirun saw end first, and how. */
  verdict(): MpirunVerdict | undefined {
    const text = this.notes.join('\n');
    const signal = /process rank (\d+) with PID \d+ on node (\S+) exited on\s+signal (\d+(?: \([^)]*\))?)/.exec(text);
    if (signal !== null) {
      const [, rank, host, which] = signal;
      return { rank: Number(rank), reason: `its process on host ${host} was ended by signal ${which}` };
    }
    const exit = /Process name: \[\[\d+,\d+\],(\d+)\]\s+Exit code:\s+(\d+)/.exec(text);
    if (exit === null) return undefined;
    return { rank: Number(exit[1]), reason: `its process exited with code ${exit[2]} before it returned` };
  }

  /** mpirun's own words, and the last lines of the ranks, for an error that nothing else explains. */
  tail(): string {
    return [...this.notes, ...this.lines].join('\n').trim();
  }
}
