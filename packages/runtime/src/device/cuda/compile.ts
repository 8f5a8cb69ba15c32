/**
 * Compiles kernels by NVRTC for a card's architecture, and keeps the machine code on the disk under a hash of all that
 * went into it.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import koffi from 'koffi';
import { written, type NvrtcLibrary } from './bindings/index.js';
import type { KernelSource, Storage } from './kernel-source.js';

/** Folder of compiled kernels. */
export const cacheVariable = 'MONTA_CUDA_CACHE';

export interface CompileTarget {
  /** Compute capability as NVRTC names it: sm_90. */
  readonly architecture: string;
  readonly storage: Storage;
}

/** Where compiled kernels are kept: `MONTA_CUDA_CACHE`, or `monta/cuda` in the user's cache folder. */
export function kernelCacheFolder(environment: Readonly<Record<string, string | undefined>> = process.env): string {
  return (
    environment[cacheVariable] ?? join(environment['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'monta', 'cuda')
  );
}

function compileOptions({ architecture, storage }: CompileTarget): string[] {
  // Contraction to fused multiply-adds is CUDA's default and the same in every run.
  return [`-arch=${architecture}`, '-std=c++17', ...(storage === 'bf16' ? ['-DELEMENT_BF16'] : [])];
}

/** Names the machine code of a source: changes with its text, its headers, the options and the compiler. */
function kernelHash(source: KernelSource, options: readonly string[], compiler: string): string {
  const hash = createHash('sha256');
  for (const part of [compiler, ...options, source.text, ...[...source.headers].flat()]) hash.update(part).update('\0');
  return hash.digest('hex');
}

/** Machine code (cubin) of a source: from the cache, or compiled and put there. */
export function compileKernels(nvrtc: NvrtcLibrary, source: KernelSource, target: CompileTarget): Buffer {
  const options = compileOptions(target);
  const folder = kernelCacheFolder();
  const hash = kernelHash(source, options, compilerVersion(nvrtc));
  const file = join(folder, `${source.name}-${hash.slice(0, 32)}.cubin`);
  const kept = readKept(file);
  if (kept !== undefined) return kept;
  const code = compile(nvrtc, source, options);
  mkdirSync(folder, { recursive: true });
  // Ranks may compile the same source at once: each writes a file of its own and renames it.
  const own = `${file}.${process.pid}.${threadId}`;
  writeFileSync(own, code);
  renameSync(own, file);
  return code;
}

function readKept(file: string): Buffer | undefined {
  try {
    const kept = readFileSync(file);
    return kept.length > 0 ? kept : undefined;
  } catch {
    return undefined;
  }
}

function compilerVersion(nvrtc: NvrtcLibrary): string {
  const [major, minor] = [new Int32Array(1), new Int32Array(1)];
  nvrtc.nvrtcVersion(major, minor);
  return `nvrtc ${major[0]}.${minor[0]}`;
}

/** Texts of C in this process's memory, and an array of their addresses. Both must outlive the call that reads them. */
function texts(values: readonly string[]): { readonly addresses: BigUint64Array; readonly kept: readonly Buffer[] } {
  const kept = values.map((value) => Buffer.from(`${value}\0`));
  return { addresses: BigUint64Array.from(kept, (buffer) => koffi.address(buffer)), kept };
}

function compile(nvrtc: NvrtcLibrary, source: KernelSource, options: readonly string[]): Buffer {
  const headers = texts([...source.headers.values()]);
  const names = texts([...source.headers.keys()]);
  const flags = texts(options);
  const program = written((cell) =>
    nvrtc.nvrtcCreateProgram(
      cell,
      source.text,
      `${source.name}.cu`,
      headers.kept.length,
      headers.addresses,
      names.addresses,
    ),
  );
  try {
    try {
      nvrtc.nvrtcCompileProgram(program, flags.kept.length, flags.addresses);
    } catch (error) {
      throw new Error(`${source.name}.cu does not compile:\n${log(nvrtc, program)}`, { cause: error });
    }
    const code = Buffer.alloc(written((cell) => nvrtc.nvrtcGetCUBINSize(program, cell)));
    nvrtc.nvrtcGetCUBIN(program, code);
    return code;
  } finally {
    nvrtc.nvrtcDestroyProgram(BigUint64Array.of(BigInt(program)));
  }
}

function log(nvrtc: NvrtcLibrary, program: number): string {
  const text = Buffer.alloc(written((cell) => nvrtc.nvrtcGetProgramLogSize(program, cell)));
  nvrtc.nvrtcGetProgramLog(program, text);
  return text.toString('utf8').replaceAll('\0', '').trim();
}
