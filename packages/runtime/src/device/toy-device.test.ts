/** The suite for devices passes on a device that is nothing like the CPU's. */
import { describeDevice } from '../../testing/device/conformance.js';
import { ToyDevice } from '../../testing/device/toy-device.js';

for (const seed of [1, 2])
  describeDevice(`toy device ${seed}`, {
    make: ({ trace }) => new ToyDevice({ seed, trace }),
    tooManyBytes: 2 ** 28 + 1,
  });
