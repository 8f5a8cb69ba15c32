/** How the elements of several ranks become one. */
export type Reduction = 'sum' | 'max';
