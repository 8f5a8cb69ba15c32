/** The hidden first word with which scripts ask; the words of the line follow, the one at the cursor last. */
export const askWord = '__complete';
