export * from './safetensorsTypes.js';
export * from './safetensorsHeader.js';
export * from './safetensorsReader.js';
export * from './safetensorsWriter.js';
export * from './safetensorsFolder.js';
