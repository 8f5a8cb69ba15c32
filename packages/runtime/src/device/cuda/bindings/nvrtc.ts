/** NVRTC, CUDA's run-time compiler. Names and order of parameters as in NVIDIA's NVRTC manual. */
import { bindCalls, textOfCode, type Calls } from './calls.js';
import type { LibraryName, NativeLibrary } from './search.js';

export const nvrtcName: LibraryName = {
  title: "CUDA's run-time compiler NVRTC",
  files: ['libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so'],
  // It opens these by bare name.
  companions: /^libnvrtc-builtins\.so\.\d+\.\d+$/,
};

const calls = {
  nvrtcVersion: ['host', 'host'],
  // program, source, name, headers, their texts, their names
  nvrtcCreateProgram: ['host', 'text', 'text', 'int', 'host', 'host'],
  nvrtcCompileProgram: ['address', 'int', 'host'],
  nvrtcGetProgramLogSize: ['address', 'host'],
  nvrtcGetProgramLog: ['address', 'host'],
  nvrtcGetCUBINSize: ['address', 'host'],
  nvrtcGetCUBIN: ['address', 'host'],
  nvrtcDestroyProgram: ['host'],
} as const;

export type NvrtcLibrary = Calls<typeof calls>;

export function bindNvrtc(library: NativeLibrary, rank?: number): NvrtcLibrary {
  return bindCalls(library, calls, { rank, text: textOfCode(library, 'nvrtcGetErrorString') });
}
