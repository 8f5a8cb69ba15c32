/**
 * Long steps by their layers: two short versions of the programs are simulated, and what one more layer costs is multiplied. Exact when
 * layers repeat and nothing but their number differs; what it rests on is part of the result.
 */
import { unknownEstimate } from '../cost/index.js';
import type { UnknownEstimate } from '../cost/index.js';
import type { Program, ProgramNode } from '../schedule/schedule.js';
import { simulate } from './simulate.js';
import type { Simulation, SimulationJob } from './simulate.js';

export interface RepresentativeSimulation {
  readonly known: true;
  /** Of the whole step. */
  readonly makespanSeconds: number;
  /** What one more layer per stage adds. */
  readonly secondsPerLayer: number;
  /** Layers per stage of the two runs that it rests on; equal to `layers` (and nothing multiplied) when those are few. */
  readonly simulatedLayers: readonly [number, number];
  /** Layers per stage. */
  readonly layers: number;
  /** For the person: how the number came about. */
  readonly method: string;
  /** The longer run. Its trace and summary are of `simulatedLayers[1]` layers. */
  readonly simulation: Simulation;
}

/** Layers that the longer run keeps, and the least that it is worth leaving out. */
const kept = 4;

/**
 * The makespan of a job, from its first `fewer` and first `more` layers of each stage when it has more than that. Stages with
 * different numbers of layers are simulated in full.
 */
export function simulateRepresentative(
  job: SimulationJob,
  fewer = kept - 2,
  more = kept,
): RepresentativeSimulation | UnknownEstimate {
  if (!(Number.isInteger(fewer) && Number.isInteger(more) && fewer >= 1 && fewer < more)) {
    throw new RangeError(`layers to simulate are whole numbers, the first smaller: ${fewer}, ${more}`);
  }
  const counts = job.programs.map((program) => layersOf(program).length);
  const layers = Math.max(0, ...counts);
  if (layers <= more || counts.some((count) => count !== layers)) {
    const simulation = simulate(job);
    if (!simulation.known) return simulation;
    const { makespanSeconds } = simulation.summary;
    const secondsPerLayer = layers > 0 ? makespanSeconds / layers : 0;
    const method = 'all layers simulated';
    return {
      known: true,
      makespanSeconds,
      secondsPerLayer,
      simulatedLayers: [layers, layers],
      layers,
      method,
      simulation,
    };
  }
  const short = simulate(shortened(job, fewer));
  const simulation = simulate(shortened(job, more));
  if (!short.known) return short;
  if (!simulation.known) return unknownEstimate(...simulation.missing);
  const seconds = simulation.summary.makespanSeconds;
  const secondsPerLayer = (seconds - short.summary.makespanSeconds) / (more - fewer);
  return {
    known: true,
    makespanSeconds: seconds + (layers - more) * secondsPerLayer,
    secondsPerLayer,
    simulatedLayers: [fewer, more],
    layers,
    method: `${more} of ${layers} layers simulated; each further one adds what layers ${fewer + 1} to ${more} did`,
    simulation,
  };
}

function layersOf(program: Program): number[] {
  return [...new Set(program.nodes.map((node) => node.layer).filter((layer) => layer >= 0))].sort((a, b) => a - b);
}

/** The job with the first `count` layers of each stage; bindings keep knowing the nodes by their old numbers. */
function shortened(job: SimulationJob, count: number): SimulationJob {
  const parts = job.programs.map((program, index) => {
    const keptLayers = new Set(layersOf(program).slice(0, count));
    const { nodes, numbers } = withoutLayers(program, (layer) => layer < 0 || keptLayers.has(layer));
    return { program: { ...program, nodes }, numbers: numbers.map((node) => job.nodeNumbers?.[index]?.[node] ?? node) };
  });
  return {
    ...job,
    programs: parts.map((part) => part.program),
    nodeNumbers: parts.map((part) => part.numbers),
  };
}

/** Drops nodes; what waited for a dropped one waits for what that had waited for. */
function withoutLayers(
  program: Program,
  keep: (layer: number) => boolean,
): { nodes: ProgramNode[]; numbers: number[] } {
  const numbers: number[] = [];
  /** For every old node, the new ones that stand for its end. */
  const stands: (readonly number[])[] = [];
  const nodes: ProgramNode[] = [];
  program.nodes.forEach((node, old) => {
    const after = [...new Set(node.after.flatMap((before) => stands[before] ?? []))].sort((a, b) => a - b);
    if (keep(node.layer)) {
      stands.push([nodes.length]);
      numbers.push(old);
      nodes.push({ ...node, after });
    } else stands.push(after);
  });
  return { nodes, numbers };
}
