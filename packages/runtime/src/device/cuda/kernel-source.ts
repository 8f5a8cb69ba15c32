/**
 * The kernels' sources, `kernels/*.cu` of this package, and what their text says of a kernel's parameters: the one
 * place where a signature stands is the kernel itself.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The same distance from `src/device/cuda` and from `dist/device/cuda`. */
const folder = new URL('../../../kernels/', import.meta.url);

/** How elements are stored; arithmetic is fp32 in either case. */
export type Storage = 'bf16' | 'f32';

export interface KernelSource {
  /** File name without `.cu`. */
  readonly name: string;
  readonly text: string;
  /** Files that it includes, by name. */
  readonly headers: ReadonlyMap<string, string>;
}

export type ParameterType = 'pointer' | 'int' | 'long' | 'float' | 'double';

export interface KernelParameter {
  readonly name: string;
  readonly type: ParameterType;
  /** Place among the packed parameters, bytes. */
  readonly offset: number;
}

const parameterBytes: Readonly<Record<ParameterType, number>> = { pointer: 8, int: 4, long: 8, float: 4, double: 8 };

/** Names of the sources. */
export function kernelSources(): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.cu'))
    .map((file) => file.slice(0, -'.cu'.length))
    .sort();
}

/** Reads a source and the headers beside it that it includes, headers of headers too. */
export function readKernelSource(name: string): KernelSource {
  const headers = new Map<string, string>();
  const read = (file: string): string => readFileSync(fileURLToPath(new URL(file, folder)), 'utf8');
  const collect = (text: string): void => {
    for (const [, header] of text.matchAll(/^#include "(\S+)"$/gm)) {
      if (headers.has(header)) continue;
      headers.set(header, read(header));
      collect(headers.get(header) ?? '');
    }
  };
  const text = read(`${name}.cu`);
  collect(text);
  return { name, text, headers };
}

/** Parameters of each `extern "C" __global__` function of a source. */
export function kernelParameters(text: string): Map<string, KernelParameter[]> {
  const plain = text.replaceAll(/\/\/.*$/gm, '');
  const kernels = new Map<string, KernelParameter[]>();
  for (const [, name, list] of plain.matchAll(
    /extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)/g,
  ))
    kernels.set(name, place(name, list.split(',')));
  return kernels;
}

function place(kernel: string, declarations: readonly string[]): KernelParameter[] {
  let end = 0;
  return declarations.map((declaration) => {
    const name = /(\w+)\s*$/.exec(declaration)?.[1] ?? '';
    const type = typeOf(kernel, declaration.slice(0, declaration.lastIndexOf(name)).trim());
    const bytes = parameterBytes[type];
    const offset = Math.ceil(end / bytes) * bytes;
    end = offset + bytes;
    return { name, type, offset };
  });
}

function typeOf(kernel: string, declared: string): ParameterType {
  if (declared.includes('*')) return 'pointer';
  if (declared === 'int' || declared === 'float' || declared === 'double') return declared;
  if (declared === 'long long') return 'long';
  throw new Error(`kernel ${kernel} has a parameter of type '${declared}', which nothing here can pass`);
}
