import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startMps } from './mps.js';

describe('the multi-process service of a job', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'monta-mps-'));
    const program = join(folder, 'nvidia-cuda-mps-control');
    writeFileSync(program, `#!/bin/sh\necho "$1 of $CUDA_VISIBLE_DEVICES" >> ${folder}/said\ncat >> ${folder}/said\n`);
    chmodSync(program, 0o755);
    vi.stubEnv('PATH', `${folder}:${process.env['PATH'] ?? ''}`);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  });

  it.each([
    // It sees cards 2 and 3, and its clients see those as 0 and 1.
    ['2,3', '0,1'],
    ['1', '0'],
    // CUDA stops at the first that is none.
    ['3,-1,2', '0'],
  ])('of cards %s gives its clients %s', (visible, clients) => {
    vi.stubEnv('CUDA_VISIBLE_DEVICES', visible);
    const service = startMps(folder);
    expect(service?.environment['CUDA_VISIBLE_DEVICES']).toBe(clients);
    expect(service?.environment['CUDA_MPS_PIPE_DIRECTORY']).toContain(folder);
    service?.stop();
    expect(readFileSync(join(folder, 'said'), 'utf8')).toBe(
      `-d of ${visible}\\n of ${visible}\\nquit\\n`.replaceAll('\\n', '\n'),
    );
  });

  it.each(['GPU-38291a0b,GPU-11', 'MIG-1', ''])('leaves cards named %o as they are', (visible) => {
    vi.stubEnv('CUDA_VISIBLE_DEVICES', visible);
    expect(startMps(folder)?.environment).not.toHaveProperty('CUDA_VISIBLE_DEVICES');
  });

  it('is none where the machine has none', () => {
    vi.stubEnv('PATH', folder);
    rmSync(join(folder, 'nvidia-cuda-mps-control'));
    expect(startMps(folder)).toBeUndefined();
  });
});
