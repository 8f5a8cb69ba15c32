export * from './device/view.js';
export * from './device/gemm.js';
export * from './comm/communicator.js';
