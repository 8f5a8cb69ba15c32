/** Versions that a person names: `torch=2.6.0`, `te=2.8`. */
import type { SoftwareName } from '@monta/core';
import { InputError } from '@monta/core/units';
import { softwareNames } from '@monta/core/frameworks';

/** Throws `InputError` for other software, and for what is no version. */
export function softwareVersions(list: readonly string[]): Partial<Record<SoftwareName, string>> {
  return Object.fromEntries(
    list.map((entry) => {
      const [name = '', version = ''] = entry.split('=', 2);
      if (!softwareNames.some((one) => one === name) || !/^\d+(?:\.\d+)*/u.test(version))
        throw new InputError(`--software ${entry} is no version`, {
          expected: `NAME=version, of ${softwareNames.join(', ')} (te: TransformerEngine)`,
        });
      return [name, version];
    }),
  );
}
