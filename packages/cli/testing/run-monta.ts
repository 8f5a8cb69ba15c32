/** Runs command lines as tests do: in this process, both streams caught, no environment. */
import { runMonta } from '#cli/app.js';

export interface Ran {
  readonly out: string;
  readonly err: string;
  readonly code: number;
}

/** What `monta --version` then says. */
export const testVersion = '9.9.9';

/** Runs one command line, without `node` and the script. */
export async function monta(...inputs: string[]): Promise<Ran> {
  const text = { out: '', err: '' };
  const stream = (name: 'out' | 'err') => ({
    write: (written: string) => {
      text[name] += written;
    },
  });
  const code = await runMonta(inputs, testVersion, { stdout: stream('out'), stderr: stream('err'), env: {} });
  return { ...text, code };
}
