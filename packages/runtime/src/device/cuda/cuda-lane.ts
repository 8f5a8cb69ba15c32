/** A lane of a card, and what kernels on its stream work with. */
import type { DeviceEvent, Launch, Queue } from '../device.js';
import { CudaAttention } from './attention/attention.js';
import type { Address } from './bindings/index.js';
import type { StreamTools } from './catalogue/call.js';
import { LaneExperts } from './catalogue/lane-experts.js';
import type { CudaContext } from './context.js';
import { LtGemm } from './gemm.js';
import type { LaunchClock } from './launch-clock.js';
import { StreamUploads } from './stream-uploads.js';

/** A launch that waits for its turn. */
interface Waiting {
  readonly id: number;
  readonly launch: Launch;
  readonly after: readonly DeviceEvent[];
}

/** A launch that is on its stream. */
export interface Issued {
  readonly id: number;
  readonly lane: string;
  /** CUDA's events behind it, and before it when tracing. */
  readonly end: Address;
  readonly start?: Address;
  /** Memory that the kernel took for itself. */
  readonly temporaries: readonly Address[];
}

/** A lane of a card: its stream, and what is to come, and is, on it. */
export interface Lane {
  readonly name: string;
  readonly priority: number;
  readonly stream: Address;
  readonly queue: Queue;
  readonly tools: StreamTools;
  /** Notes when its work ran. */
  readonly clock: LaunchClock | undefined;
  /** Not on the stream yet, in order. */
  readonly waiting: Waiting[];
  /** On the stream and not known to be done, in order. */
  readonly issued: Issued[];
}

/** Products of a stream have a workspace of their own, made with the first of them. */
export function streamTools(context: CudaContext, stream: Address): StreamTools {
  let gemm: LtGemm | undefined;
  let attention: CudaAttention | undefined;
  let experts: LaneExperts | undefined;
  const uploads = new StreamUploads(context, stream);
  return {
    context,
    stream,
    get gemm(): LtGemm {
      return (gemm ??= new LtGemm(context));
    },
    get attention(): CudaAttention {
      return (attention ??= new CudaAttention(context));
    },
    uploads,
    get experts(): LaneExperts {
      return (experts ??= new LaneExperts(context, { stream, gemm: this.gemm, uploads }));
    },
  };
}
