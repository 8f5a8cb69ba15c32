/** Writes it, and returns its path. */
export declare function writeNsysReport(path: string): string;
//# sourceMappingURL=nsys-report.d.ts.map
