/** The short set of the failure suite: real processes on two hosts, a real link that is cut, a real full disk. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { testsOnTwoHosts } from '../hosts.js';
import { builtTesting } from '../built.js';

const script = fileURLToPath(new URL('../../../../scripts/two-hosts', import.meta.url));
const main = builtTesting('failures/main').pathname;

describe.runIf(testsOnTwoHosts)('a job on two hosts', () => {
  it('ends or goes on as documented when something fails', () => {
    const ran = spawnSync(script, ['--', process.execPath, main, '--smoke'], { encoding: 'utf8' });
    const lines = ran.stdout.trim().split('\n');
    expect(lines.filter((line) => !line.startsWith('ok '))).toEqual([]);
    expect(lines).toHaveLength(5);
    expect(ran.status).toBe(0);
  });
});
