/**
 * Running kernels, and the processors they run on. A kernel is work in seconds, done at a rate of at most 1. Kernels
 * slow down when collectives of their rank hold multiprocessors, and, where ranks share the cores of a host, when more
 * kernels run than there are cores. Kernels of one GPU share it: a matrix product and copies beside it take 0.94 to
 * 0.995 of their sum (8,192 x 28,672 x 4,096 in bf16 and 1, 3 and 8 copies or gathers of 0.5 GB on a second stream of
 * an H200, sustained), since both fill the multiprocessors or the memory's bandwidth.
 */
import { removeFrom } from '../units/index.js';

/** Ranks that share the cores of a host, as on a cluster that is emulated on one machine. */
export interface HostCores {
  readonly cores: number;
  /** Ranks r with the same floor(r / ranksPerHost) share. */
  readonly ranksPerHost: number;
  /**
   * Bytes in flight are moved by threads of the host: each moves so many bytes a second on a core of its own. While
   * more kernels run than cores are left, kernels and movers share the cores evenly; what movers do not use goes to the
   * kernels.
   */
  readonly movers?: Movers;
  /**
   * A rank spends so many seconds of a core on every collective (an all_reduce is two): posting its messages, noticing
   * that others came. It does so once the bytes are through. At most as many ranks as there are cores do so at a time,
   * first come, first served: collectives at the same time slow each other down, and ranks that came together part.
   */
  readonly coreSecondsPerCollective?: number;
  /**
   * Share of a collective's latency that passes while its bytes flow, from 0 (the default: all of it comes after the
   * last byte) to 1.
   */
  readonly latencyOverlap?: number;
  /** A rank's thread that slept while its collective was under way takes so long to go on with a kernel. */
  readonly wakeSeconds?: number;
}

/** Threads that move bytes, and how many of them each moves a second on a core of its own. */
export interface Movers {
  readonly threads: number;
  readonly bytesPerSecond: number;
  /**
   * Of bytes between hosts, which cost more than a copy where a protocol like TCP carries them; as of others when left
   * out.
   */
  readonly networkBytesPerSecond?: number;
}

/** A kernel, or what a rank does itself for a collective. */
export interface RunningKernel {
  readonly kind: 'kernel' | 'collective';
  readonly rank: number;
  readonly operation: number;
  remaining: number;
  rate: number;
  since: number;
  version: number;
}

interface Host {
  /** In the order in which they started. */
  readonly kernels: RunningKernel[];
  /** Its rates are to be worked out again. */
  dirty: boolean;
  /** Of `kernels`, those of collectives, and more that wait for a core. */
  collectives: number;
  readonly waiting: RunningKernel[];
  /** Bytes a second that the movers of this host move now. */
  moving: number;
}

export interface ProcessorOptions {
  readonly ranks: number;
  readonly multiprocessors: number;
  readonly shared: boolean;
  readonly cores: HostCores | undefined;
}

export class Processors {
  readonly #shared: boolean;
  readonly #cores: HostCores | undefined;
  readonly #hosts: Host[];
  readonly #dirty: Host[] = [];
  /** Multiprocessors that collectives hold, per rank. */
  readonly #held: Float64Array;
  /** Kernels that run, per rank. */
  readonly #running: Int32Array;
  readonly #multiprocessors: number;

  /**
   * `multiprocessors` of one device; Infinity where collectives take none. `shared`: kernels of one rank share its
   * device.
   */
  constructor({ ranks, multiprocessors, shared, cores }: ProcessorOptions) {
    this.#shared = shared;
    this.#cores = cores;
    this.#multiprocessors = multiprocessors;
    this.#held = new Float64Array(ranks);
    this.#running = new Int32Array(ranks);
    this.#hosts = Array.from({ length: Math.ceil(ranks / (cores?.ranksPerHost ?? 1)) }, () => ({
      kernels: [],
      dirty: false,
      collectives: 0,
      waiting: [],
      moving: 0,
    }));
  }

  hostOf(rank: number): number {
    return Math.floor(rank / (this.#cores?.ranksPerHost ?? 1));
  }

  start(kernel: RunningKernel): void {
    const host = this.#host(kernel.rank);
    if (kernel.kind === 'collective') {
      if (host.collectives >= (this.#cores?.cores ?? Infinity)) {
        host.waiting.push(kernel);
        return;
      }
      host.collectives += 1;
    }
    host.kernels.push(kernel);
    this.#count(kernel, 1);
    this.#change(host);
  }

  end(kernel: RunningKernel): void {
    const host = this.#host(kernel.rank);
    removeFrom(host.kernels, kernel);
    this.#count(kernel, -1);
    this.#change(host);
    if (kernel.kind === 'kernel') return;
    host.collectives -= 1;
    const next = host.waiting.shift();
    if (next) this.start(next);
  }

  /** A collective of `rank` takes multiprocessors, or with a negative amount gives them back. */
  hold(rank: number, multiprocessors: number): void {
    if (multiprocessors === 0) return;
    this.#held[rank] = (this.#held[rank] ?? 0) + multiprocessors;
    this.#change(this.#host(rank));
  }

  /** Capacity of the movers of a host, bytes/s, beside the kernels that run there now. */
  moverCapacity(host: number): number {
    const cores = this.#cores;
    if (!cores?.movers) return Infinity;
    const running = this.#hosts[host]?.kernels.length ?? 0;
    const { threads, bytesPerSecond } = cores.movers;
    return threads * bytesPerSecond * Math.min(1, cores.cores / (running + threads));
  }

  /** Bytes inside a host that movers would move in the time that a byte of this route takes them. */
  moverWeight(betweenHosts: boolean): number {
    const movers = this.#cores?.movers;
    if (movers?.networkBytesPerSecond === undefined || !betweenHosts) return 1;
    return movers.bytesPerSecond / movers.networkBytesPerSecond;
  }

  setMoving(host: number, bytesPerSecond: number): void {
    const state = this.#hosts[host];
    if (!state || state.moving === bytesPerSecond) return;
    state.moving = bytesPerSecond;
    this.#change(state);
  }

  /** Brings the rates of kernels up to date; `foresee` is told the new end of every kernel whose rate changed. */
  settle(now: number, foresee: (kernel: RunningKernel, end: number) => void): void {
    if (this.#dirty.length === 0) return;
    for (let place = 0; place < this.#dirty.length; place++) {
      const host = this.#dirty[place];
      if (host === undefined) break;
      host.dirty = false;
      const share = this.#share(host);
      for (let at = 0; at < host.kernels.length; at++) {
        const kernel = host.kernels[at];
        if (kernel === undefined) break;
        // at least one multiprocessor is left: concurrent collectives queue for them rather than stop a kernel for good
        const left = Math.max(1, this.#multiprocessors - (this.#held[kernel.rank] ?? 0));
        const beside = !this.#shared ? 1 : Math.max(1, this.#running[kernel.rank] ?? 1);
        const rate = (share / beside) * (Number.isFinite(this.#multiprocessors) ? left / this.#multiprocessors : 1);
        if (rate === kernel.rate && kernel.version > 0) continue;
        kernel.remaining = Math.max(0, kernel.remaining - kernel.rate * (now - kernel.since));
        kernel.rate = rate;
        kernel.since = now;
        kernel.version += 1;
        if (rate > 0) foresee(kernel, now + kernel.remaining / rate);
      }
    }
    this.#dirty.length = 0;
  }

  #change(host: Host): void {
    if (host.dirty) return;
    host.dirty = true;
    this.#dirty.push(host);
  }

  #count(kernel: RunningKernel, change: 1 | -1): void {
    if (kernel.kind === 'kernel') this.#running[kernel.rank] = (this.#running[kernel.rank] ?? 0) + change;
  }

  #share(host: Host): number {
    const cores = this.#cores;
    if (!cores) return 1;
    const moving = cores.movers ? host.moving / cores.movers.bytesPerSecond : 0;
    return Math.min(1, Math.max(cores.cores - moving, 0) / host.kernels.length);
  }

  #host(rank: number): Host {
    const host = this.#hosts[this.hostOf(rank)];
    if (!host) throw new RangeError(`rank ${rank} has no host`);
    return host;
  }
}
