/** Chooses the matrix product of a rank. */
import { InputError } from '@monta/core/units';
import type { Gemm } from '../gemm.js';
import { loadOpenblas } from './gemm-openblas.js';
import { referenceGemm } from './gemm-reference.js';
import { createWasmGemm } from './gemm-wasm.js';
import type { CpuMemory } from './memory.js';

const choices = ['wasm', 'openblas', 'reference'] as const;
export type GemmChoice = 'auto' | (typeof choices)[number];

export interface GemmOptions {
  /**
   * `auto` (the default) follows the environment variable MONTA_GEMM, else takes wasm: same bits everywhere, nothing to
   * install.
   */
  readonly prefer?: GemmChoice;
  /** Called now and then during long products (wasm only), so that communication can progress. */
  readonly onTile?: () => void;
}

/**
 * The product for arrays of a rank's memory. Throws when `openblas` is asked for and cannot be loaded, or the name is
 * unknown.
 */
export function createGemm(memory: CpuMemory, { prefer = 'auto', onTile }: GemmOptions = {}): Gemm {
  const choice = prefer === 'auto' ? fromEnvironment() : prefer;
  if (choice === 'reference') return referenceGemm;
  if (choice === 'wasm') return createWasmGemm(memory, onTile === undefined ? {} : { onTile });
  const gemm = loadOpenblas();
  if (gemm === undefined) {
    throw new InputError(
      'OpenBLAS was asked for but could not be loaded: install it (Debian: libopenblas0-pthread), name its file in ' +
        'MONTA_OPENBLAS, or set MONTA_GEMM=wasm',
    );
  }
  return gemm;
}

function fromEnvironment(): Exclude<GemmChoice, 'auto'> {
  const name = process.env['MONTA_GEMM'];
  if (name === undefined || name === '') return 'wasm';
  const choice = choices.find((known) => known === name);
  if (choice === undefined) {
    throw new InputError(`environment variable MONTA_GEMM is '${name}', expected one of ${choices.join(', ')}`);
  }
  return choice;
}
