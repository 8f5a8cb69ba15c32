export { realDisk, writeAll, writeFileAtomically, type Disk, type FileContent } from './disk.js';
export { fileProblem } from './errno.js';
