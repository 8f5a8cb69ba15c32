/** Slots of the region `loss`; each is divided so that the sum over all ranks of the job is what the name says. */
export const lossSlot = { crossEntropy: 0, targets: 1, auxiliary: 2, squares: 3 } as const;
