/** Ranks on their nodes; the colour is the place along the dimension that is looked at. */
import { useState } from 'preact/hooks';
import type { PlanDetail } from './answer.js';

const axes = ['pp', 'ep', 'dp', 'tp', 'cp', 'etp'] as const;
type Axis = (typeof axes)[number];

const [size, gap] = [16, 3];

export function RankPicture({ grid }: { readonly grid: PlanDetail['grid'] }) {
  const { ranks, perNode, world } = grid;
  const used = axes.filter((axis) => ranks.some(({ at }) => at[axis] > 0));
  const [wanted, setAxis] = useState<Axis>('ep');
  const axis = used.includes(wanted) ? wanted : (used[0] ?? 'dp');
  const nodes = Math.ceil(ranks.length / perNode);
  const across = Math.min(nodes, Math.max(1, Math.floor(60 / perNode)));
  const nodeWidth = perNode * (size + gap) + 10;
  const width = across * nodeWidth;
  const height = Math.ceil(nodes / across) * (size + 12);
  return (
    <figure class="card">
      <div class="bar">
        <h2>Ranks on nodes</h2>
        <div role="group" aria-label="Dimension that is coloured">
          {used.map((one) => (
            <button key={one} type="button" aria-pressed={one === axis} onClick={() => setAxis(one)}>
              {one}
            </button>
          ))}
        </div>
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label="Picture of ranks">
        <svg
          class="ranks"
          width={width}
          height={height}
          viewBox={`0 0 ${width} ${height}`}
          role="img"
          aria-label={`${ranks.length} of ${world} ranks on ${nodes} nodes, coloured by their place along ${axis}`}
        >
          {ranks.map(({ rank, at }) => {
            const node = Math.floor(rank / perNode);
            const x = (node % across) * nodeWidth + (rank % perNode) * (size + gap);
            const y = Math.floor(node / across) * (size + 12);
            const text = axes.map((name) => `${name} ${at[name]}`).join(', ');
            return (
              <g key={rank}>
                <rect class={`f-s${at[axis] % 8}`} x={x} y={y} width={size} height={size} rx={2}>
                  <title>{`rank ${rank}, node ${node}: ${text}`}</title>
                </rect>
                <text x={x + size / 2} y={y + 11.5} text-anchor="middle">
                  {at[axis]}
                </text>
              </g>
            );
          })}
        </svg>
      </div>
      <figcaption class="muted">
        {ranks.length < world && `The first ${ranks.length} of ${world} ranks. `}
        {`Number and colour: the place along ${axis}.`}
      </figcaption>
    </figure>
  );
}
