/**
 * One-to-one bindings from a table: a call's name and its parameters. A call throws `CudaError` unless it returns 0.
 * Addresses and handles are numbers: on the machines that CUDA runs on, addresses have at most 48 bits.
 */
import type { NativeFunction, NativeLibrary } from './search.js';

/** An address in the device's memory, or a handle of a library. */
export type Address = number;

/** Kinds of parameters, as C types. `out`, `host`: memory of this process, read or written during the call only. */
const cTypes = {
  int: 'int',
  unsigned: 'unsigned int',
  long: 'int64_t',
  size: 'size_t',
  float: 'float',
  address: 'uint64_t',
  host: 'void *',
  text: 'const char *',
} as const;

interface Values {
  readonly int: number;
  readonly unsigned: number;
  readonly long: number;
  readonly size: number;
  readonly float: number;
  readonly address: Address;
  readonly host: NodeJS.TypedArray | null;
  readonly text: string;
}

export type Kind = keyof typeof cTypes;
export type Declarations = Readonly<Record<string, readonly Kind[]>>;
type Arguments<Kinds extends readonly Kind[]> = { readonly [Place in keyof Kinds]: Values[Kinds[Place]] };
/** The bound calls of a table. */
export type Calls<Table extends Declarations> = {
  readonly [Name in keyof Table]: (...values: Arguments<Table[Name]>) => void;
};

/** Who calls, and how the library says what a code means. */
export interface Caller {
  /** Absent outside a job. */
  readonly rank?: number;
  text(code: number): string;
  /** Codes beside 0 that are no error; none unless given. */
  passes?(code: number): boolean;
}

/** A call of one of CUDA's libraries returned an error. */
export class CudaError extends Error {
  override readonly name = 'CudaError';
  constructor(
    readonly call: string,
    readonly code: number,
    readonly text: string,
    readonly rank: number | undefined,
  ) {
    super(`${rank === undefined ? '' : `rank ${rank}: `}${call}: ${text} (${code})`);
  }
}

/** Binds each call when it is first made. */
export function bindCalls<Table extends Declarations>(
  library: NativeLibrary,
  table: Table,
  caller: Caller,
): Calls<Table> {
  const bound = Object.entries(table).map(([name, kinds]) => {
    let native: NativeFunction | undefined;
    const call = (...values: readonly unknown[]): void => {
      native ??= library.func(`int ${name}(${kinds.map((kind) => cTypes[kind]).join(', ')})`);
      const code = native(...values) as number;
      if (code !== 0 && caller.passes?.(code) !== true) throw new CudaError(name, code, caller.text(code), caller.rank);
    };
    return [name, call] as const;
  });
  // Names and parameters are the table's, which the compiler does not see through its entries.
  const calls: unknown = Object.fromEntries(bound);
  return calls as Calls<Table>;
}

/** A function `const char *name(int code)`, bound when it is first used. */
export function textOfCode(library: NativeLibrary, name: string): (code: number) => string {
  let native: NativeFunction | undefined;
  return (code) => {
    native ??= library.func(`const char *${name}(int)`);
    return native(code) as string;
  };
}

/** The handle or address that a call writes. */
export function written(call: (cell: BigUint64Array) => void): Address {
  const cell = new BigUint64Array(1);
  call(cell);
  return Number(cell[0]);
}

/** The int that a call writes. */
export function writtenInt(call: (cell: Int32Array) => void): number {
  const cell = new Int32Array(1);
  call(cell);
  return cell[0];
}
