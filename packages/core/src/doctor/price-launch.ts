/** What a checked run costs in the words of its framework, or why it has no price. */
import type { Cluster } from '../cluster/cluster.js';
import { deviceCount } from '../cluster/ports.js';
import type { RunSetting } from '../estimate/index.js';
import {
  modelOfRun,
  settingOfDeepspeed,
  settingOfRun,
  settingOfTorchtitan,
  torchtitanModelName,
  whyNoStep,
  type DeepspeedConfig,
  type MegatronRun,
  type NotPriced,
  type TorchtitanRun,
} from '../frameworks/index.js';
import { worldSize } from '../layout/index.js';
import { getModel, type MoeModel } from '../model/index.js';
import { formatInteger, InputError } from '../units/index.js';
import { priceRun, type PricedFramework, type PricedSetting } from './price-run.js';

/** A price, or why there is none. */
export type LaunchPrice = (PricedSetting & { readonly framework: PricedFramework }) | NotPriced;

/** A run as the step model takes it, or why it cannot. */
export type LaunchSetting = RunSetting | NotPriced;

/** Prices what nothing stops. */
function priced(framework: PricedFramework, cluster: Cluster, settingOf: () => LaunchSetting): LaunchPrice {
  try {
    const setting = settingOf();
    if ('why' in setting) return setting;
    const [world, devices] = [worldSize(setting.layout), deviceCount(cluster)];
    if (world !== devices)
      return { why: `${formatInteger(world)} ranks, and ${cluster.name} has ${formatInteger(devices)} devices` };
    return { ...priceRun(setting, framework), framework };
  } catch (error) {
    if (error instanceof InputError) return { why: error.message };
    throw error;
  }
}

/** The price of flags or overrides of Megatron; without a model, of the one that they describe. */
export const priceMegatron = (run: MegatronRun, given: MoeModel | undefined, cluster: Cluster): LaunchPrice =>
  priced('megatron', cluster, () => {
    const described = given === undefined ? modelOfRun(run) : { model: given };
    if ('missing' in described)
      return { why: `the flags do not say the model (${described.missing.join(', ')}): --model` };
    return settingOfRun(run, described.model, cluster) ?? whyNoStep(run);
  });

/** The step of a DeepSpeed configuration. */
export function deepspeedSetting(config: DeepspeedConfig, cluster: Cluster): LaunchSetting {
  const { model, launch, gpus } = config.context;
  if (model === undefined) return { why: 'the configuration does not say the model: --model' };
  if (launch?.sequence === undefined)
    return { why: 'the tokens of a sequence are not known', missing: ['--seq-length in the launch script'] };
  if (gpus === undefined) return { why: 'the ranks are not known: --gpus' };
  return settingOfDeepspeed(config, model, cluster) ?? { why: 'the batch is not known, or does not divide' };
}

/** The price of a DeepSpeed configuration. */
export const priceDeepspeed = (config: DeepspeedConfig, cluster: Cluster): LaunchPrice =>
  priced('deepspeed', cluster, () => deepspeedSetting(config, cluster));

/** The step of a torchtitan configuration; without a model, of the one that `model.flavor` names. */
export function torchtitanSetting(run: TorchtitanRun, cluster: Cluster): LaunchSetting {
  const name = torchtitanModelName(run);
  const model = run.context.model ?? (name === undefined ? undefined : getModel(name));
  if (model === undefined) return { why: 'the configuration names no model that is known: --model' };
  return settingOfTorchtitan(run, model, cluster);
}

/** The price of a torchtitan configuration. */
export const priceTorchtitan = (run: TorchtitanRun, cluster: Cluster): LaunchPrice =>
  priced('torchtitan', cluster, () => torchtitanSetting(run, cluster));
