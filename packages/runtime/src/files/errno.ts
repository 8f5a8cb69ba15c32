/** What the file system says when an operation fails, in words: the one table behind every message. */

const problems: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EROFS: 'the file system is read-only',
  EISDIR: 'is a folder, a file was expected',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EEXIST: 'exists already',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file would grow beyond a limit',
  EMFILE: 'too many open files: raise the limit (ulimit -n)',
  ENFILE: 'the machine has too many files open',
  EIO: 'the disk reported an error',
};

/** In words what an error code of the system means; undefined for one that has no words here. */
export const fileProblem = (code: string | undefined): string | undefined =>
  code !== undefined && Object.hasOwn(problems, code) ? problems[code] : undefined;

/** Why a file operation failed: in words with the code, or in those of the error. */
export function describeCause(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const { code } = cause as NodeJS.ErrnoException;
  const problem = fileProblem(code);
  return problem === undefined ? cause.message : `${problem} (${code})`;
}
