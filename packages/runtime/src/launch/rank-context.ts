import type { Endpoint } from '../comm/communicator.js';
import type { Device } from '../device/device.js';

/** What a rank works with. */
export interface RankContext<Data = unknown> {
  readonly rank: number;
  readonly size: number;
  readonly endpoint: Endpoint;
  readonly device: Device;
  /** `workerData` of the launch. */
  readonly data: Data;
  /** Sends a message to the launcher's `onMessage` (structured clone). */
  readonly report: (message: unknown) => void;
}
