/** How long launchers of processes wait for what. */

/** A rank that has not been heard from for so long ends the job, unless told otherwise. */
export const defaultLostSeconds = 15;
/** All ranks must have started by then, unless told otherwise. */
export const defaultStartSeconds = 60;
/** How long a sign of a failure waits for a better explanation. */
export const explanationMilliseconds = 1500;
/** How long ranks have to leave by themselves when the job ends badly. */
export const leaveMilliseconds = 4000;
/** How long processes may take to end once all ranks have returned. */
export const finishMilliseconds = 20_000;

/** Does not keep the process alive. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });
}
