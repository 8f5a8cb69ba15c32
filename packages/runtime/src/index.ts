export * from './device/view.js';
export * from './device/gemm.js';
export * from './device/cpu/index.js';
export * from './comm/communicator.js';
