/**
 * Choices among ways to multiply, kept on the disk: with a run, so that it goes on in the way in which it began, and
 * beside the compiled kernels, so that ranks of a host and later runs take what was measured first. Results keep their
 * bits.
 */
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { kernelCacheFolder } from '../compile.js';
import type { CardFacts } from '../context.js';
import type { ExpertChoices } from './expert-products.js';

export class KeptChoices implements ExpertChoices {
  readonly #folders: readonly string[];
  readonly #card: string;

  /** Choices of one kind of card under one version of CUDA. ofRun: where those of a run are, which go first. */
  constructor({ name, runtimeCuda, driverCuda }: CardFacts, ofRun?: string, ofHost = kernelCacheFolder()) {
    this.#folders = ofRun === undefined ? [ofHost] : [ofRun, ofHost];
    this.#card = `${name}, CUDA ${runtimeCuda}, driver's ${driverCuda}`;
  }

  get(product: string): string | undefined {
    const known = this.#folders.map((folder) => readChoice(this.#file(folder, product))).find((way) => way);
    return known === undefined ? undefined : this.keep(product, known);
  }

  keep(product: string, way: string): string {
    for (const folder of this.#folders) this.#keepIn(folder, product, way);
    return readChoice(this.#file(this.#folders[0], product)) ?? way;
  }

  /** Whole when it appears; one that is there stays. */
  #keepIn(folder: string, product: string, way: string): void {
    const file = this.#file(folder, product);
    if (readChoice(file) !== undefined) return;
    mkdirSync(folder, { recursive: true });
    const own = `${file}.${process.pid}.${threadId}`;
    // The second line is for people.
    writeFileSync(own, `${way}\n${this.#card}: ${product}\n`);
    try {
      linkSync(own, file);
    } catch {
      // Another rank was first, or links are not possible here: then the choice is this process's own.
    }
    unlinkSync(own);
  }

  #file(folder: string, product: string): string {
    const hash = createHash('sha256').update(`${this.#card}\0${product}`).digest('hex');
    return join(folder, `experts-${hash.slice(0, 32)}.txt`);
  }
}

function readChoice(file: string): string | undefined {
  try {
    const [way] = readFileSync(file, 'utf8').split('\n', 1);
    return way === '' ? undefined : way;
  } catch {
    return undefined;
  }
}
