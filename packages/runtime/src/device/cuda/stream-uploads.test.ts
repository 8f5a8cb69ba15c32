import { expect, it } from 'vitest';
import { FakeCuda } from '../../../testing/device/fake-cuda.js';
import { CudaContext } from './context.js';
import { StreamUploads } from './stream-uploads.js';

it('arrays arrive as they were when they were given, however late the card copies them', () => {
  const context = new CudaContext({ libraries: new FakeCuda(1, 2 ** 27).libraries(0) });
  const stream = context.createStream();
  const uploads = new StreamUploads(context, stream);
  // Twice what may be under way at a time, one of them more than half of that.
  const sizes = [3e5, 1, 8e5, 2.5e6, 17, 1e6, 3e5];
  const values = new Int32Array(2.5e6);
  const rooms = sizes.map((length, at) => {
    const room = context.memory.allocate(4 * length);
    uploads.copy(room, values.fill(at + 1, 0, length).subarray(0, length));
    return room;
  });
  values.fill(-1);
  context.synchronize();
  for (const [at, length] of sizes.entries()) {
    const there = new Int32Array(length);
    context.memory.read(rooms[at], new Uint8Array(there.buffer));
    expect(there.every((value) => value === at + 1)).toBe(true);
  }
  context.close();
});
