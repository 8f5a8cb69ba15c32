/** Peers of a layer in a process of python3 beside this one, asked by lines of JSON. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { MoeLayerShape } from '../../device/cuda/layer/moe-layer.js';

/** The same distance from `src/bench/cuda` and from `dist/bench/cuda`. */
const script = fileURLToPath(new URL('../../../peers/moe_layer.py', import.meta.url));

export const peerNames = [
  'transformers grouped_mm',
  'transformers grouped_mm, compiled',
  'PyTorch by hand, cuBLAS loop',
] as const;

export type PeerName = (typeof peerNames)[number];

export interface PeerAnswer {
  readonly milliseconds?: number;
  readonly peakBytes?: number;
  readonly torch?: string;
  /** Why it could not run. */
  readonly error?: string;
}

/** Peers for one shape. What they print beside their answers goes to `notes`. */
export class Peers {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #notes = '';

  constructor(shape: MoeLayerShape) {
    this.#process = spawn('python3', [script, JSON.stringify(shape)]);
    this.#process.stderr.on('data', (text: Buffer) => {
      this.#notes = `${this.#notes}${text.toString('utf8')}`.slice(-keptNotes);
    });
    this.#process.stdin.on('error', () => {
      // The process ended: the next answer says so.
    });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  prepare(name: PeerName): Promise<PeerAnswer> {
    return this.#ask({ prepare: name });
  }

  /** Milliseconds of a step, in a run of about `milliseconds`. */
  time(name: PeerName, milliseconds: number): Promise<PeerAnswer> {
    return this.#ask({ time: name, milliseconds });
  }

  close(): void {
    this.#process.stdin.end();
  }

  async #ask(request: object): Promise<PeerAnswer> {
    this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    const { done, value } = await this.#lines.next();
    if (done === true) return { error: `python3 ended: ${this.#notes.trim()}` };
    return JSON.parse(value) as PeerAnswer;
  }
}

const keptNotes = 2000;
