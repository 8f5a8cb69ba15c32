/**
 * Choices among ways to multiply, kept on the disk: with a run, so that it goes on in the way in which it began, and
 * beside the compiled kernels, so that ranks of a host and later runs take what was measured first. Results keep their
 * bits.
 */
import { createHash } from 'node:crypto';
import { constants, copyFileSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
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
    // Ranks of several hosts may share a run's folder.
    const own = `${file}.${hostname()}.${process.pid}.${threadId}`;
    // The second line is for people.
    writeFileSync(own, `${way}\n${this.#card}: ${product}\n`);
    try {
      putFirst(own, file);
    } finally {
      rmSync(own, { force: true });
    }
  }

  #file(folder: string, product: string): string {
    const hash = createHash('sha256').update(`${this.#card}\0${product}`).digest('hex');
    return join(folder, `experts-${hash.slice(0, 32)}.txt`);
  }
}

const isThere = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EEXIST';

/** Gives a file its name, unless another rank was first. Where a file system has no links, it is copied. */
function putFirst(own: string, file: string): void {
  for (const put of [linkSync, (from: string, to: string) => copyFileSync(from, to, constants.COPYFILE_EXCL)])
    try {
      put(own, file);
      return;
    } catch (error) {
      if (isThere(error)) return;
    }
}

/** Undefined where there is none, or not all of it yet. */
function readChoice(file: string): string | undefined {
  try {
    const [way, rest] = readFileSync(file, 'utf8').split('\n', 2);
    return way === '' || rest === undefined ? undefined : way;
  } catch {
    return undefined;
  }
}
