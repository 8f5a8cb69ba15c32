/** `monta convert`: one form of checkpoint into another. */
import { formatBytes, formatInteger } from '@monta/core/units';
import { formatLayout } from '@monta/core/layout';
import { convertCheckpoint, inspectCheckpoint, type Conversion, type WeightType } from '@monta/runtime/checkpoint';
import type { MontaContext } from '../context.js';
import { renderFacts } from '../output/table.js';
import type { ConvertFlags } from './convert.flags.js';

const types: Readonly<Record<'f32' | 'bf16' | 'f16', WeightType>> = { f32: 'F32', bf16: 'BF16', f16: 'F16' };

const form = ({ from, step, input }: Conversion): string =>
  `${input} (${from === 'hf' ? 'Hugging Face folder' : `training state of step ${formatInteger(step ?? 0)}`})`;

const result = ({ to, output, type, layout, step }: Conversion): string =>
  to === 'hf'
    ? `${output} (Hugging Face folder, ${type.toLowerCase()})`
    : `${output} (training state of step ${formatInteger(step ?? 0)}, ` +
      `${layout === undefined ? 'one rank' : formatLayout(layout)})`;

/** Runs the command. Throws `InputError` for what can't be read or described, `SaveError` when the disk refuses. */
export function runConvert({ console }: MontaContext, flags: ConvertFlags, input: string, output: string): void {
  const { to, dtype, shardSize, like, layout } = flags;
  const conversion = convertCheckpoint(input, output, {
    ...(to === undefined ? {} : { to }),
    ...(dtype === undefined ? {} : { type: types[dtype] }),
    ...(shardSize === undefined ? {} : { maxShardBytes: shardSize }),
    ...(like === undefined ? {} : { like }),
    ...(layout === undefined ? {} : { layout }),
  });
  const written = inspectCheckpoint(output);
  const size = written.kind === 'run' ? {} : { bytes: written.bytes, files: written.files };
  if (flags.json) {
    console.json({ ...conversion, ...size });
    return;
  }
  console.print(
    renderFacts(
      [
        ['Read', form(conversion)],
        ['Wrote', result(conversion)],
        ...(written.kind === 'run'
          ? []
          : [['Size', `${formatBytes(written.bytes)} in ${formatInteger(written.files.length)} files`] as const]),
        ...(conversion.left.length === 0 ? [] : [['Left out', conversion.left.join(', ')] as const]),
      ],
      console.style,
    ),
  );
}
