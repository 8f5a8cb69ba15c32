/**
 * Writes small WebAssembly modules at run time: functions over one imported shared memory, with SIMD. It knows no
 * optimisation and checks nothing beyond what the engine's validation checks.
 */
import { memoryOpcodes, plainOpcodes, simdOpcodes } from './opcodes.js';
import type { MemoryOpcode, Opcode } from './opcodes.js';
import { appendAll } from '@monta/core/units';

const valueTypes = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export type ValueType = keyof typeof valueTypes;
/** Index of a parameter or local. */
export type Local = number;

/** Magic and version. */
const moduleHeader = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const emptyBlock = 0x40;
const pagesWithin4GiB = 65536;

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  let rest = value | 0;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    const done = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
    bytes.push(done ? low : low | 0x80);
    if (done) return bytes;
  }
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...unsigned(bytes.length), ...bytes];
}

function typeList(types: readonly ValueType[]): number[] {
  return vector(types.map((type) => [valueTypes[type]]));
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...unsigned(content.length), ...content];
}

/** The body of one function; the methods append instructions and return the builder, so that they chain. */
export class FunctionBuilder {
  readonly #code: number[] = [];
  readonly #locals: ValueType[] = [];

  constructor(
    readonly name: string,
    readonly parameters: readonly ValueType[],
    readonly results: readonly ValueType[] = [],
  ) {}

  local(type: ValueType): Local {
    return this.parameters.length + this.#locals.push(type) - 1;
  }

  get(local: Local): this {
    return this.#append(0x20, ...unsigned(local));
  }

  set(local: Local): this {
    return this.#append(0x21, ...unsigned(local));
  }

  i32(value: number): this {
    return this.#append(0x41, ...signed(value));
  }

  f32(value: number): this {
    return this.#append(0x43, ...new Uint8Array(Float32Array.of(value).buffer));
  }

  /** Four times the same 32-bit integer (for constants prefer a local set before the loop). */
  i32x4(value: number): this {
    return this.i32(value).op('i32x4.splat');
  }

  f32x4(value: number): this {
    return this.f32(value).op('f32x4.splat');
  }

  op(...names: readonly Opcode[]): this {
    for (const name of names) {
      if (name in plainOpcodes) this.#append(plainOpcodes[name as keyof typeof plainOpcodes]);
      else this.#append(0xfd, ...unsigned(simdOpcodes[name as keyof typeof simdOpcodes]));
    }
    return this;
  }

  /** Load or store at the address on the stack plus an offset; no alignment is promised. */
  memory(name: MemoryOpcode, offset = 0): this {
    return this.#append(...memoryOpcodes[name], 0, ...unsigned(offset));
  }

  /** i8x16.shuffle of two vectors seen as four 32-bit lanes each (0 to 3, 4 to 7). */
  shuffle32(...lanes: readonly [number, number, number, number]): this {
    return this.#append(0xfd, 0x0d, ...lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => lane * 4 + byte)));
  }

  extractF64(lane: 0 | 1): this {
    return this.#append(0xfd, 0x21, lane);
  }

  /** Stores the low 64 bits of a vector. */
  storeLow64(offset = 0): this {
    return this.#append(0xfd, 0x5b, 0, ...unsigned(offset), 0);
  }

  /** memory.copy: target, source and bytes from the stack. */
  copyMemory(): this {
    return this.#append(0xfc, 0x0a, 0, 0);
  }

  /** local += the i32 constant. */
  advance(local: Local, by: number): this {
    return this.get(local).i32(by).op('i32.add').set(local);
  }

  /** local += the other local. */
  advanceBy(local: Local, by: Local): this {
    return this.get(local).get(by).op('i32.add').set(local);
  }

  /** Runs the body while the counter, an i32, is not 0, taking 1 off it each time. */
  repeat(counter: Local, body: () => void): this {
    return this.when(counter, () => {
      this.#append(0x03, emptyBlock);
      body();
      this.get(counter).i32(1).op('i32.sub').set(counter).get(counter);
      this.#append(0x0d, 0, 0x0b);
    });
  }

  /** Runs the body when the local, an i32, is not 0, else the other one. */
  when(condition: Local, body: () => void, otherwise?: () => void): this {
    this.get(condition);
    this.#append(0x04, emptyBlock);
    body();
    if (otherwise !== undefined) {
      this.#append(0x05);
      otherwise();
    }
    return this.#append(0x0b);
  }

  /** The function type, as in the type section. */
  encodeType(): number[] {
    return [0x60, ...typeList(this.parameters), ...typeList(this.results)];
  }

  /** The code entry: locals, instructions, end. */
  encodeBody(): number[] {
    const body = [...vector(this.#locals.map((type) => [1, valueTypes[type]])), ...this.#code, 0x0b];
    return [...unsigned(body.length), ...body];
  }

  #append(...bytes: readonly number[]): this {
    appendAll(this.#code, bytes);
    return this;
  }
}

/** The bytes of a module that imports `env.memory` (shared) and exports the functions under their names. */
function encodeModule(functions: readonly FunctionBuilder[]): Uint8Array<ArrayBuffer> {
  const shared = 0x03;
  return Uint8Array.from([
    ...moduleHeader,
    ...section(1, vector(functions.map((f) => f.encodeType()))),
    ...section(2, vector([[...text('env'), ...text('memory'), 0x02, shared, 0, ...unsigned(pagesWithin4GiB)]])),
    ...section(3, vector(functions.map((_, index) => unsigned(index)))),
    ...section(7, vector(functions.map((f, index) => [...text(f.name), 0x00, ...unsigned(index)]))),
    ...section(10, vector(functions.map((f) => f.encodeBody()))),
  ]);
}

export type WasmFunction = (...values: number[]) => number;

/** Compiles the functions and binds them to a memory; the result has one entry per function, under its name. */
export function instantiate<Name extends string>(
  memory: WebAssembly.Memory,
  names: readonly Name[],
  functions: readonly FunctionBuilder[],
): Record<Name, WasmFunction> {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(encodeModule(functions)), { env: { memory } });
  return Object.fromEntries(names.map((name) => [name, exports[name] as WasmFunction])) as Record<Name, WasmFunction>;
}
