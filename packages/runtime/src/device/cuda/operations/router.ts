/** Launches of kernels/router.cu. */
import type { Address } from '../bindings/index.js';
import type { RouterShape } from '../../../moe/index.js';
import { nullAddress, type Launcher } from './launcher.js';

/** Tokens of a block: a warp each. */
const tokensPerBlock = 4;
const mostExperts = 1024;

function router(shape: RouterShape) {
  if (shape.experts > mostExperts) throw new RangeError(`${shape.experts} experts: at most ${mostExperts} on a GPU`);
  return {
    grid: { blocks: Math.ceil(shape.tokens / tokensPerBlock), threads: 32 * tokensPerBlock },
    parameters: {
      tokens: shape.tokens,
      experts: shape.experts,
      picks: shape.picks,
      renormalise: Number(shape.renormalise),
    },
  };
}

/**
 * Softmax in fp32 and the largest picks. logits, probabilities: fp32 tokens x experts, may be one array; ids: int32,
 * weights: fp32, tokens x picks.
 */
export function routerSelect(
  on: Launcher,
  shape: RouterShape,
  to: { readonly logits: Address; readonly probabilities: Address; readonly ids: Address; readonly weights: Address },
): void {
  const { grid, parameters } = router(shape);
  on.launch('router', 'router_select', grid, { ...to, ...parameters });
}

/** dlogits in fp32 and, where `rounded` is given, in the storage type. See `routerBackward` of the CPU. */
export function routerGradient(
  on: Launcher,
  shape: RouterShape,
  of: {
    readonly probabilities: Address;
    readonly ids: Address;
    readonly dweights: Address;
    readonly dlogits: Address;
    readonly auxiliary?: Address;
    readonly rounded?: Address;
  },
): void {
  const { grid, parameters } = router(shape);
  on.launch('router', 'router_backward', grid, { auxiliary: nullAddress, rounded: nullAddress, ...of, ...parameters });
}
