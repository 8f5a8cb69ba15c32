/** What a plan would take in other circumstances, and whether another one would then be faster. */
import { deviceCount, presetOfNodes, type Cluster } from '../../cluster/index.js';
import type { RunSetting } from '../../estimate/index.js';
import type { Candidate } from '../search/search.js';
import type { StepModel } from '../search/step-model.js';

export interface Variation {
  readonly name: string;
  readonly change: (setting: RunSetting) => RunSetting;
}

export interface Sensitivity {
  readonly name: string;
  /** Tokens a second of the plan there over what it has here. */
  readonly speed: number;
  /** Whether it still fits. */
  readonly fits: boolean;
  /** The plan that is fastest there, where it is another one of those compared. */
  readonly flipsTo?: RunSetting;
}

const slower = (cluster: Cluster): Cluster => ({
  ...cluster,
  tiers: cluster.tiers.map((tier, index) =>
    index === 0 ? tier : { ...tier, bytesPerSecond: tier.bytesPerSecond / 2 },
  ),
});

/** Half the bandwidth between nodes, twice the sequence with as many tokens a step, experts that are used unevenly. */
const variations: readonly Variation[] = [
  { name: 'half the bandwidth between nodes', change: (setting) => ({ ...setting, cluster: slower(setting.cluster) }) },
  {
    name: 'twice the sequence',
    change: (setting) => ({ ...setting, sequence: 2 * setting.sequence }),
  },
  { name: 'the fullest experts have twice the mean', change: (setting) => ({ ...setting, imbalance: 2 }) },
];

const tokensPerSecond = ({ globalBatch, sequence }: RunSetting, seconds: number): number =>
  (globalBatch * sequence) / seconds;

/** Of the best plan and those that it is compared to. `model` makes a model for settings that differ in the change. */
export function sensitivities(best: Candidate, others: readonly Candidate[], model: () => StepModel): Sensitivity[] {
  const nodes = best.setting.cluster.tiers.length > 1;
  return variations
    .filter((_, index) => nodes || index > 0)
    .map(({ name, change }) => {
      const prices = model();
      const priced = [best, ...others].map(({ setting }) => {
        const changed = change(setting);
        const fits = prices.memoryBytes(changed) <= changed.cluster.device.memoryBytes;
        return { setting, seconds: prices.seconds(changed), fits, changed };
      });
      const [own] = priced;
      const fastest = priced.filter(({ fits }) => fits).sort((a, b) => a.seconds - b.seconds)[0];
      const here = tokensPerSecond(best.setting, best.seconds);
      const there = own === undefined ? 0 : tokensPerSecond(own.changed, own.seconds);
      const flips = fastest !== undefined && fastest.setting !== best.setting ? { flipsTo: fastest.setting } : {};
      return { name, speed: there / here, fits: own?.fits ?? false, ...flips };
    });
}

/** The cluster with one unit of its outermost tier less, or undefined where it has one alone. */
export function oneNodeFewer(cluster: Cluster): Cluster | undefined {
  const last = cluster.tiers.at(-1);
  if (last === undefined || cluster.tiers.length < 2 || last.size < 2) return undefined;
  const tiers = [...cluster.tiers.slice(0, -1), { ...last, size: last.size - 1 }];
  const fewer = { ...cluster, tiers };
  return { ...fewer, name: `${cluster.name} with ${deviceCount(fewer)} devices` };
}

/** The cluster with twice the nodes; undefined for a single node that no family of presets continues. */
export function twiceTheNodes(cluster: Cluster): Cluster | undefined {
  const last = cluster.tiers.at(-1);
  if (last !== undefined && cluster.tiers.length > 1)
    return { ...cluster, tiers: [...cluster.tiers.slice(0, -1), { ...last, size: 2 * last.size }] };
  return presetOfNodes(cluster.name, 2);
}
