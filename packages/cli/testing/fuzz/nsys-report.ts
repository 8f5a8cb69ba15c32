/** A report of Nsight Systems as its SQLite export: two devices, a kernel of each kind, and a copy. */
import sqlite from 'node-sqlite3-wasm';

/** Writes it, and returns its path. */
export function writeNsysReport(path: string): string {
  const database = new sqlite.Database(path);
  database.exec(`
    CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT);
    CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL
      (start INT, end INT, deviceId INT, streamId INT, globalPid INT, demangledName INT);
    CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, deviceId INT, globalPid INT);
    INSERT INTO StringIds VALUES (1, 'ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)'), (2, 'cutlass_gemm'),
      (3, 'hybrid_ep::dispatch_kernel<unsigned short>(hybrid_ep::param)');
    INSERT INTO TARGET_INFO_GPU VALUES (0, 'NVIDIA H100'), (1, 'NVIDIA H100');
    INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES
      (1000, 5000, 0, 20, 281474976710656001, 1), (3000, 9000, 0, 7, 281474976710656001, 2),
      (1000, 2000, 1, 20, 281474976710656002, 3);
    INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (9000, 9500, 0, 281474976710656001);
  `);
  database.close();
  return path;
}
