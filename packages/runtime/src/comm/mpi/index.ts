export { createMpiEndpoint, MpiEndpoint, type MpiEndpointOptions } from './endpoint.js';
export { loadMpi, mpiLibraryAvailable, MpiError, type Mpi } from './ffi.js';
