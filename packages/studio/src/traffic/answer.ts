/** Bytes of one pass of a layer by port, operation by operation, with when each runs: to be drawn and played. */
import {
  choiceName,
  InputError,
  minOf,
  maxOf,
  passProgram,
  portsOf,
  routedBinding,
  simulatePass,
  traffic,
  type Candidate,
  type Cluster,
  type Program,
} from '@monta/core';
import { choiceOf, readLayer, type LayerFields } from '../explore/answer.js';
import type { Subject } from '../subject/subject.js';

export interface TrafficFields extends LayerFields {
  readonly pass: 'forward' | 'backward';
  /** Place among the ways; 0 is the best. */
  readonly way: number;
}

/** A port that sends. */
export interface SendingPort {
  readonly tier: number;
  /** Which unit of the tier below owns it: a device, or a node. */
  readonly unit: number;
  readonly port: number;
  readonly bytesPerSecond: number;
}

/** A collective, or one piece of it. */
export interface PortMove {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  /** By port. */
  readonly bytes: Float64Array;
}

export interface TrafficAnswer {
  readonly ways: readonly string[];
  readonly tiers: readonly string[];
  readonly devicesPerNode: number;
  readonly ports: readonly SendingPort[];
  readonly moves: readonly PortMove[];
  readonly seconds: number;
}

/** The program with one of its operations alone. */
function alone(program: Program, operation: string): Program {
  return {
    ...program,
    templates: Object.fromEntries(
      Object.entries(program.templates).map(([name, template]) => [
        name,
        { ...template, operations: template.operations.filter(({ id }) => `${name}/${id}` === operation) },
      ]),
    ),
  };
}

const wayText = (one: Candidate): string =>
  `${choiceName(one)} ${one.strategy.chunks.forward}/${one.strategy.chunks.backward}`;

/** Ports that send, in the order of the cluster's. */
const sendingPorts = (cluster: Cluster): readonly (SendingPort & { readonly at: number })[] =>
  portsOf(cluster).flatMap(({ tier, unit, port, direction, bytesPerSecond }, at) =>
    direction === 'egress' ? [{ tier, unit, port, bytesPerSecond, at }] : [],
  );

/** Throws `InputError`. */
export function trafficAnswer({ pass, way, sliders }: TrafficFields, subject: Subject): TrafficAnswer {
  const workload = readLayer(sliders, subject);
  const { candidates } = choiceOf(workload);
  const chosen = candidates[way] ?? candidates[0];
  if (chosen === undefined) throw new InputError('there is no way', { file: 'model' });
  const { cluster, routing, seed } = workload;
  const shape = { ...workload.shape, layout: chosen.layout };
  const binding = routedBinding(shape, routing, seed);
  const simulated = simulatePass({ ...workload, shape }, chosen.strategy, pass, binding);
  if (!simulated.known) throw new InputError(simulated.missing.join('; '), { file: 'cluster' });
  const program = passProgram({ ...workload, shape }, chosen.strategy, pass);
  const ports = sendingPorts(cluster);
  const { spans } = simulated.trace;
  const names = [...new Set(spans.flatMap(({ collective, operation }) => (collective ? [operation] : [])))];
  const moves = names.map((name): PortMove => {
    const own = spans.filter(({ operation }) => operation === name);
    const counted = traffic({ program: alone(program, name), layout: shape.layout, cluster, binding }).ports;
    return {
      name: name.slice(name.indexOf('/') + 1),
      from: minOf(own.map(({ ready }) => ready)),
      to: maxOf(own.map(({ end }) => end)),
      bytes: Float64Array.from(ports, ({ at }) => counted[at] ?? 0),
    };
  });
  return {
    ways: candidates.map(wayText),
    tiers: cluster.tiers.map(({ name }) => name),
    devicesPerNode: cluster.tiers[0]?.size ?? 1,
    ports: ports.map(({ tier, unit, port, bytesPerSecond }) => ({ tier, unit, port, bytesPerSecond })),
    moves,
    seconds: maxOf(spans.map(({ end }) => end)),
  };
}

/** Bytes that each port has sent at a moment; a move sends evenly while it runs. */
export function sentBy({ ports, moves }: Pick<TrafficAnswer, 'ports' | 'moves'>, moment: number): Float64Array {
  const sent = new Float64Array(ports.length);
  for (const { from, to, bytes } of moves) {
    const share = moment >= to ? 1 : moment <= from ? 0 : (moment - from) / (to - from);
    for (let port = 0; port < sent.length; port++) sent[port] = (sent[port] ?? 0) + share * (bytes[port] ?? 0);
  }
  return sent;
}
