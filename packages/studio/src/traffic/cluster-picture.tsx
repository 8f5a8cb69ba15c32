/** The cluster as boxes: devices in nodes, ports of the network below; how full a port is, its colour says. */
import { formatBytes, maxOf } from '@monta/core';
import type { TrafficAnswer } from './answer.js';

const [cell, gap, nodeGap] = [30, 4, 18];
/** Nodes that are drawn. */
const mostNodes = 32;

interface ClusterPictureProps {
  readonly answer: TrafficAnswer;
  /** By port, until now, and in the whole pass. */
  readonly sent: Float64Array;
  readonly whole: Float64Array;
}

export function ClusterPicture({ answer, sent, whole }: ClusterPictureProps) {
  const { ports, devicesPerNode, tiers } = answer;
  const fullest = tiers.map((_, tier) =>
    maxOf([...ports.keys()].map((at) => (ports[at]?.tier === tier ? (whole[at] ?? 0) : 0))),
  );
  const outer = ports.filter(({ tier, unit }) => tier === 1 && unit === 0).length;
  const width = Math.max(devicesPerNode, outer) * (cell + gap) + gap;
  const height = 2 * (cell + gap) + gap;
  const units = ports.flatMap(({ tier, unit }) => (tier === 0 ? [unit] : []));
  const nodes = Math.min(mostNodes, Math.ceil((maxOf(units) + 1) / devicesPerNode));
  const across = Math.max(1, Math.min(nodes, Math.floor(1100 / (width + nodeGap))));
  const drawn = ports.flatMap((port, at) => {
    const node = port.tier === 0 ? Math.floor(port.unit / devicesPerNode) : port.unit;
    return port.tier <= 1 && node < nodes ? [{ ...port, at, node }] : [];
  });
  // Several ports of one device share its box: the fullest is drawn over the others.
  const place = ({ tier, unit, port, node }: (typeof drawn)[number]): { x: number; y: number } => ({
    x: (node % across) * (width + nodeGap) + gap + (tier === 0 ? unit % devicesPerNode : port) * (cell + gap),
    y: Math.floor(node / across) * (height + nodeGap) + gap + tier * (cell + gap),
  });
  const [w, h] = [across * (width + nodeGap), Math.ceil(nodes / across) * (height + nodeGap)];
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Picture of the cluster">
      <svg width={w} height={h} viewBox={`0 0 ${w} ${h}`} role="img" aria-label="Bytes that ports have sent">
        {[...Array(nodes).keys()].map((node) => (
          <rect
            key={node}
            class="node"
            x={(node % across) * (width + nodeGap)}
            y={Math.floor(node / across) * (height + nodeGap)}
            width={width}
            height={height}
            rx={6}
          />
        ))}
        {drawn.map((port) => {
          const { x, y } = place(port);
          const bytes = sent[port.at] ?? 0;
          const most = fullest[port.tier] ?? 0;
          const name = port.tier === 0 ? `device ${port.unit}` : `node ${port.unit}, port ${port.port}`;
          return (
            <g key={port.at}>
              <rect class="port" x={x} y={y} width={cell} height={cell} rx={3} />
              <rect
                class={port.tier === 0 ? 'f-s0' : 'f-s1'}
                x={x}
                y={y + cell * (1 - (most > 0 ? bytes / most : 0))}
                width={cell}
                height={most > 0 ? (cell * bytes) / most : 0}
              >
                <title>{`${name}, ${tiers[port.tier]}: ${formatBytes(bytes)}`}</title>
              </rect>
            </g>
          );
        })}
      </svg>
    </div>
  );
}
