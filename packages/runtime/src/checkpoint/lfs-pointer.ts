/**
 * Files that git leaves in place of large ones until they are fetched (https://git-lfs.com, specification of pointer
 * files).
 */
import { InputError } from '@monta/core/units';

/** The first bytes of every pointer. */
const lfsPointerStart = 'version https://git-lfs.github.com/spec/v1';

/**
 * The complaint about a file that is a pointer, with the size of the real one where the pointer says it; undefined when
 * `text` is none.
 */
export function lfsPointerError(file: string, text: string): InputError | undefined {
  if (!text.startsWith(lfsPointerStart)) return undefined;
  const bytes = /^size (\d+)$/mu.exec(text)?.[1];
  return new InputError('is a Git LFS pointer, not the file itself', {
    file,
    expected: bytes === undefined ? 'the real file' : `the real file of ${bytes} bytes`,
    hint: 'fetch it: git lfs pull in the repository, or download the file again',
  });
}
