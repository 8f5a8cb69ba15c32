/** Follows a file that grows by lines. */
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';

/** Between looks at the file, milliseconds. */
const look = 250;
const pieceBytes = 1 << 16;

/**
 * Tells every whole line, those that are there first, until the signal; a file that is not there yet is waited for.
 * A line that is still being written is told once it is whole.
 */
export async function followLines(path: string, tell: (line: string) => void, signal: AbortSignal): Promise<void> {
  const lines = new GrowingLines(path, tell);
  while (!signal.aborted) {
    await lines.read();
    await pause(look, undefined, { signal }).catch(() => undefined);
  }
}

/** Tells once that a file is there, until the signal. */
export async function whenThere(path: string, tell: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if (existsSync(path)) {
      tell();
      return;
    }
    await pause(look, undefined, { signal }).catch(() => undefined);
  }
}

class GrowingLines {
  readonly #path: string;
  readonly #tell: (line: string) => void;
  readonly #buffer = new Uint8Array(pieceBytes);
  readonly #decoder = new TextDecoder();
  #place = 0;
  /** A line that has not ended yet. */
  #rest = '';

  constructor(path: string, tell: (line: string) => void) {
    this.#path = path;
    this.#tell = tell;
  }

  /** Reads what has come. */
  async read(): Promise<void> {
    const file = await open(this.#path, 'r').catch(() => undefined);
    if (file === undefined) return;
    try {
      for (;;) {
        const { bytesRead } = await file.read(this.#buffer, 0, pieceBytes, this.#place);
        if (bytesRead === 0) return;
        this.#place += bytesRead;
        this.#take(this.#decoder.decode(this.#buffer.subarray(0, bytesRead), { stream: true }));
      }
    } finally {
      await file.close();
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') this.#tell(line);
  }
}
