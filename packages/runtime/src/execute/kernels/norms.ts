/** RMSNorm in front of a layer, which also keeps the layer's input, and its backward, which adds into the residual stream's gradient. */
import { rmsNormBackward, rmsNormForward } from '../../transformer/index.js';
import type { Kernel } from '../kernel.js';
import type { TrainingContext } from './context.js';

/** Names of a norm's parameter by layer. */
export type NormName = (layer: number) => string;

export const attentionNorm: NormName = (layer) => `model.layers.${layer}.input_layernorm.weight`;
export const feedForwardNorm: NormName = (layer) => `model.layers.${layer}.post_attention_layernorm.weight`;
export const finalNorm: NormName = () => 'model.norm.weight';

/** Uses: the stream (read), the kept input (write), the normed rows (write). */
export const normForward =
  ({ model, parameters }: TrainingContext, name: NormName): Kernel =>
  (call) => {
    const stream = call.use(0);
    call.use(1).set(stream);
    const rows = stream.length / model.hiddenSize;
    const { weight } = parameters.get(name(call.node.layer));
    const shape = { rows, width: model.hiddenSize, epsilon: model.rmsNormEps };
    call.scratch(rows, (inverse) => rmsNormForward(shape, stream, weight, call.use(2), inverse));
  };

/** Uses: gradient of the normed rows, the kept input, the stream's gradient (added to, or written by the head). */
export const normBackward =
  ({ model, parameters }: TrainingContext, name: NormName): Kernel =>
  (call) => {
    const input = call.use(1);
    const width = model.hiddenSize;
    const rows = input.length / width;
    const { weight, gradient } = parameters.get(name(call.node.layer));
    const add = call.operation.uses[2].mode === 'add';
    call.scratch(rows, (inverse) => {
      for (let row = 0; row < rows; row++) {
        let squares = 0;
        for (let i = row * width; i < (row + 1) * width; i++) squares += input[i] * input[i];
        inverse[row] = 1 / Math.sqrt(squares / width + model.rmsNormEps);
      }
      const shape = { rows, width, epsilon: model.rmsNormEps };
      rmsNormBackward(shape, input, weight, inverse, call.use(0), call.use(2), gradient, add);
    });
  };
