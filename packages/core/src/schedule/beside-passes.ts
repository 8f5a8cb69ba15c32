/**
 * The backward of one micro-batch and the forward of the next, issued in turns so that either computes while the other
 * communicates: what Megatron-Core calls combined 1F1B and DualPipe (arXiv 2412.19437) a pair of chunks. The passes
 * stay what they are; their nodes are cut where they wait for a collective, and the parts are strung together.
 */
import type { ProgramNode, Template } from './schedule.js';

/** Places of a template before which its parts begin, the first of them 0: kernels that wait for a collective. */
export function partsOf({ operations }: Template): number[] {
  const starts = [0];
  let submitted = new Set<string>();
  operations.forEach(({ id, body, after }, place) => {
    if (body.kind === 'collective') {
      submitted.add(id);
      return;
    }
    if (!after.some((other) => submitted.has(other))) return;
    starts.push(place);
    submitted = new Set();
  });
  return starts;
}

/** A node's parts, the node itself where it has one only. */
function cut(node: ProgramNode, template: Template | undefined): ProgramNode[] {
  if (template === undefined) return [node];
  const starts = partsOf(template);
  if (starts.length === 1) return [node];
  return starts.map((first, index) => ({
    ...node,
    after: index === 0 ? node.after : [],
    part: { first, end: starts[index + 1] ?? template.operations.length },
  }));
}

/** Runs of nodes of one layer; those of no layer stand alone. */
function byLayer(nodes: readonly ProgramNode[]): ProgramNode[][] {
  const runs: ProgramNode[][] = [];
  for (const node of nodes) {
    const run = runs.at(-1);
    if (run?.[0] !== undefined && run[0].layer === node.layer && node.layer >= 0) run.push(node);
    else runs.push([node]);
  }
  return runs;
}

/** Both lists in their order, in turns: next comes the one of which the smaller share has gone, at first `ours`. */
function inTurns<T>(ours: readonly T[], theirs: readonly T[]): T[] {
  const both: T[] = [];
  for (let [own, other] = [0, 0]; own < ours.length || other < theirs.length;) {
    const first = other === theirs.length || (own < ours.length && own * theirs.length <= other * ours.length);
    const next = first ? ours[own++] : theirs[other++];
    if (next !== undefined) both.push(next);
  }
  return both;
}

/**
 * Nodes of a backward and of another micro-batch's forward as one list: layer by layer, from the last for the one and
 * from the first for the other, in turns part by part.
 */
export function besidePasses(
  backward: readonly ProgramNode[],
  forward: readonly ProgramNode[],
  templates: ReadonlyMap<string, Template>,
): ProgramNode[] {
  const parts = (nodes: readonly ProgramNode[]): ProgramNode[][] =>
    byLayer(nodes).map((run) => run.flatMap((node) => cut(node, templates.get(node.template))));
  const [ours, theirs] = [parts(backward), parts(forward)];
  return Array.from({ length: Math.max(ours.length, theirs.length) }, (_, layer) =>
    inTurns(ours[layer] ?? [], theirs[layer] ?? []),
  ).flat();
}
