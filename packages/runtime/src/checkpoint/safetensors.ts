export * from './safetensors-types.js';
export * from './safetensors-header.js';
export * from './safetensors-reader.js';
export * from './safetensors-writer.js';
export * from './safetensors-folder.js';
