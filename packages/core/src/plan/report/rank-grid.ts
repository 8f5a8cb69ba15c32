/** A picture of where ranks lie: devices of a node side by side, nodes below one another. */
import type { Cluster } from '../../cluster/cluster.js';
import { devicesPerUnit } from '../../cluster/ports.js';
import { coordinates, coordinatesStagesInside, worldSize } from '../../layout/mesh.js';
import type { Layout } from '../../layout/layout.js';
import type { RankOrder } from '../../estimate/index.js';

/** Nodes and devices of a node that are drawn. */
const [mostNodes, mostDevices] = [2, 8];

/** The axes that a layout splits, with their letters. */
function axesOf({ tp, cp, dp, ep, etp }: Layout): ['tp' | 'cp' | 'dp' | 'etp' | 'ep', string][] {
  const axes: ['tp' | 'cp' | 'dp' | 'etp' | 'ep', number, string][] = [
    ['tp', tp, 't'],
    ['cp', cp, 'c'],
    ['dp', dp, 'd'],
    ['ep', ep, 'e'],
    ['etp', etp, 'x'],
  ];
  return axes.filter(([, degree]) => degree > 1).map(([axis, , letter]) => [axis, letter]);
}

/**
 * A line for each of the first nodes of the first stage, and for the first of the last stage: `stage 0  node 0  t0·d0
 * t1·d0 …`. t, c, d, e, x: places along tp, cp, dp, ep, etp.
 */
export function rankGrid(layout: Layout, cluster: Cluster, order: RankOrder = 'dp-pp'): string[] {
  const perNode = Math.min(devicesPerUnit(cluster, 0), worldSize(layout));
  const nodes = Math.ceil(worldSize(layout) / perNode);
  const axes = axesOf(layout);
  const { pp } = layout;
  const ofStage = order === 'dp-pp' ? Math.max(1, Math.floor(nodes / pp)) : nodes;
  const placeOf = (rank: number) => (order === 'dp-pp' ? coordinates : coordinatesStagesInside)(layout, rank);
  const shown = [
    ...Array(Math.min(mostNodes, ofStage)).keys(),
    ...(layout.pp > 1 && nodes > mostNodes ? [nodes - ofStage] : []),
  ];
  return [...new Set(shown)].map((node) => {
    const ranks = Array.from({ length: Math.min(perNode, mostDevices) }, (_, i) => node * perNode + i);
    const cells = ranks.map((rank) => {
      const at = placeOf(rank);
      return axes.map(([axis, letter]) => `${letter}${at[axis]}`).join('·') || `r${rank}`;
    });
    const first = placeOf(node * perNode).pp;
    const last = placeOf(Math.min(worldSize(layout), (node + 1) * perNode) - 1).pp;
    const stages = order === 'dp-pp' || first === last ? `stage ${first}` : `stages ${first} to ${last}`;
    const more = perNode > mostDevices ? ' …' : '';
    return `${pp > 1 ? `${stages}  ` : ''}node ${node}  ${cells.join('  ')}${more}`;
  });
}
