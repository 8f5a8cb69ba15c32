/** Monotonic seconds of this machine. */
export function machineSeconds(): number {
  return Number(process.hrtime.bigint()) / 1e9;
}
