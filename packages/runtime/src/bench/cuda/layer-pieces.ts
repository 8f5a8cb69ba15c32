/** Where the time of a layer goes: events between its pieces, and what each piece must compute or move. */
import type { Address } from '../../device/cuda/bindings/index.js';
import type { CudaContext } from '../../device/cuda/context.js';
import type { MoeLayerShape } from '../../device/cuda/layer/moe-layer.js';

export interface PieceTime {
  readonly piece: string;
  /** Mean over the steps. */
  readonly milliseconds: number;
  /** What the experts' products compute; absent for the rest. */
  readonly flops?: number;
  /** The fewest bytes that the other pieces move: every input read once, every output written once. */
  readonly bytes?: number;
}

/** Work of each piece, by the name that the layer gives it; those that are small whatever the shape are left out. */
function pieceWork({ tokens, picks, hidden, ffn }: MoeLayerShape): Readonly<Record<string, Partial<PieceTime>>> {
  const rows = tokens * picks;
  const element = 2;
  const gateUp = { flops: 2 * rows * hidden * 2 * ffn };
  const down = { flops: 2 * rows * hidden * ffn };
  const pack = { bytes: element * hidden * (tokens + rows) };
  return {
    pack,
    'gate and up': gateUp,
    swiglu: { bytes: element * ffn * rows * 3 },
    down,
    combine: pack,
    'pack, backward': pack,
    'down, input gradient': down,
    'down, weight gradient': down,
    'swiglu, backward': { bytes: element * ffn * rows * 5 },
    'gate and up, input gradient': gateUp,
    'gate and up, weight gradient': gateUp,
    'combine, backward': { bytes: element * hidden * (2 * tokens + rows) },
  };
}

/** Records an event after each piece while it runs. */
export class PieceClock {
  readonly #context: CudaContext;
  #marks: { readonly piece: string; readonly event: Address }[] | undefined;

  constructor(context: CudaContext) {
    this.#context = context;
  }

  start(stream: Address): void {
    this.#marks = [];
    this.mark(stream, '');
  }

  mark(stream: Address, piece: string): void {
    if (this.#marks === undefined) return;
    const event = this.#context.createEvent(true);
    this.#context.libraries.runtime.cudaEventRecord(event, stream);
    this.#marks.push({ piece, event });
  }

  /** Means by piece, in the order of the layer, and stops. */
  take(shape: MoeLayerShape): PieceTime[] {
    const marks = this.#marks ?? [];
    this.#marks = undefined;
    this.#context.synchronize();
    const times = new Map<string, number[]>();
    for (const [place, { piece, event }] of marks.entries()) {
      if (place === 0) continue;
      const milliseconds = this.#context.milliseconds(marks[place - 1].event, event);
      times.set(piece, [...(times.get(piece) ?? []), milliseconds]);
    }
    const work = pieceWork(shape);
    return [...times].map(([piece, list]) => ({
      piece,
      milliseconds: list.reduce((sum, time) => sum + time, 0) / list.length,
      ...work[piece],
    }));
  }
}
