import { execFileSync } from 'node:child_process';

/** Builds what has changed: tests run built files. */
export default function build(): void {
  execFileSync('npm', ['run', 'build', '--silent'], { stdio: 'inherit' });
}
