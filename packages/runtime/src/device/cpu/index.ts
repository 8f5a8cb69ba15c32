export * from './memory.js';
export { referenceGemm } from './gemm-reference.js';
export { createWasmGemm } from './gemm-wasm.js';
export { loadOpenblas } from './gemm-openblas.js';
export * from './gemm.js';
export { Elementwise } from './elementwise.js';
export type { RowCopy } from './elementwise.js';
