/**
 * Routing of one run kept, and given to another. Rounding moves router logits, and where two experts are close a token
 * goes elsewhere: from there on two runs compute different things. A run that is given the picks of another is compared
 * in what it computes itself.
 */
import type { SelectionArgument } from '@monta/core';
import type { Device, DeviceEvent, Launch, Queue } from '../device/device.js';
import { readFloats, readInts } from '../device/host-array.js';

const router = 'moe.router';

type Routed = (launch: Launch, event: DeviceEvent) => void;

/** A device that is `device` but for what happens behind every launch of a router, in order. */
function watched(device: Device, routed: Routed): Device {
  const queues = new Map<string, Queue>();
  const queueOf = (lane: string): Queue => {
    const queue = device.queue(lane);
    return {
      lane,
      launch: (launch, after) => {
        const event = queue.launch(launch, after);
        if (launch.kernel === router) routed(launch, event);
        return event;
      },
    };
  };
  return new Proxy(device, {
    get: (target, name) => {
      if (name === 'queue')
        return (lane: string): Queue => {
          const queue = queues.get(lane) ?? queueOf(lane);
          queues.set(lane, queue);
          return queue;
        };
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** A device that keeps the picks of every router launch in `picks`. */
export function recordingRouting(device: Device, picks: Int32Array[]): Device {
  return watched(device, ({ operands }, event) => {
    device.wait(event);
    picks.push(readInts(device, operands['ids'].view));
  });
}

/**
 * A device whose router launches pick what `picks` says, launch by launch; probabilities are its own. Throws
 * `RangeError` at one too many.
 */
export function replayingRouting(device: Device, picks: readonly Int32Array[]): Device {
  let next = 0;
  return watched(device, (launch, event) => {
    const given = picks.at(next++);
    if (given === undefined || next > picks.length) throw new RangeError(`only ${picks.length} routings are known`);
    device.wait(event);
    replay(device, launch, given);
  });
}

/** Puts picks in the place of a router's own: ids, their weights, and the counts of the statistics. */
function replay(device: Device, { operands, arguments: fields }: Launch, given: Int32Array): void {
  const { ids, weights, probabilities, statistics } = operands;
  const own = readInts(device, ids.view);
  const [all, counts] = [readFloats(device, probabilities.view), readFloats(device, statistics.view)];
  const [k, experts] = [ids.columns, probabilities.columns];
  const chosen = new Float32Array(given.length);
  given.forEach((expert, pick) => {
    chosen[pick] = all[Math.floor(pick / k) * experts + expert];
    counts[expert]++;
    counts[own[pick]]--;
  });
  if (fields['renormalise'] === true)
    for (let first = 0; first < chosen.length; first += k) {
      const row = chosen.subarray(first, first + k);
      const sum = row.reduce((a, b) => a + b, 0);
      row.forEach((value, pick) => (row[pick] = value / sum));
    }
  const { scaling = 1 } = (fields['selection'] ?? {}) as Partial<SelectionArgument>;
  for (let pick = 0; pick < chosen.length; pick++) chosen[pick] *= scaling;
  device.write(ids.view, given);
  device.write(weights.view, chosen);
  device.write(statistics.view, counts);
}
