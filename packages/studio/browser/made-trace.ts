/** Traces as large as people's, made here. */

/** `ranks` x `lanes` rows of spans that follow one another, as PyTorch's profiler writes kernels on streams. */
export function kinetoTrace(events: number, streams: number): string {
  const names = ['ampere_bf16_s16816gemm', 'ncclDevKernel_SendRecv', 'moe_permute', 'vectorized_elementwise_kernel'];
  const lines = Array.from({ length: events }, (_, index) => {
    const stream = index % streams;
    const ts = Math.floor(index / streams) * 100 + stream;
    return JSON.stringify({
      ph: 'X',
      cat: 'kernel',
      name: names[(index * 7 + stream) % names.length],
      pid: 0,
      tid: stream,
      ts,
      dur: 40 + ((index * 31) % 55),
      args: { device: 0, context: 1, stream },
    });
  });
  return `{"schemaVersion":1,"traceEvents":[\n${lines.join(',\n')}\n]}\n`;
}
