/** As what rows travel to their experts, as flags and configurations say it. */
import type { FieldMap, Payload } from '@monta/core';
import { payloads } from '@monta/core/schedule';

export interface PayloadFlags {
  readonly payload?: Payload;
}

/** The flag, to be spread into a command's. */
export const payloadFlags = {
  payload: {
    kind: 'enum',
    values: payloads,
    brief:
      'Send rows to their experts in fp8 (e4m3, an f32 scale for every 128 elements) in the forward pass; sums come ' +
      "back in the layer's type",
    optional: true,
  },
} as const;

/** What a step is told. */
export const payloadOf = ({ payload }: PayloadFlags): PayloadFlags => (payload === undefined ? {} : { payload });

/** The flag over what a file says: `payload: fp8`. Throws `InputError`. */
export function payloadFrom(map: FieldMap | undefined, flags: PayloadFlags): PayloadFlags {
  const field = map?.get('payload');
  if (flags.payload !== undefined || field === undefined) return payloadOf(flags);
  const said = field.string();
  const payload = payloads.find((one) => one === said);
  if (payload === undefined)
    throw field.error(`"${said}" is no payload`, { expected: `one of ${payloads.join(', ')}, or nothing` });
  return { payload };
}
