/**
 * Checks something about a time that somebody waits, with four times as much of it after each failure: on a busy
 * machine those who do come may be late, too. Throws what the last attempt, with 64 times as much, threw.
 */
export async function withPatience(seconds: number, check: (seconds: number) => Promise<void>): Promise<void> {
  for (const patience of [seconds, 4 * seconds, 16 * seconds]) {
    try {
      return await check(patience);
    } catch {
      // With more patience, then.
    }
  }
  await check(64 * seconds);
}
