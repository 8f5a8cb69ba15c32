/** Flags of `monta cluster`. */
export interface ClusterFlags {
  readonly json: boolean;
  readonly yaml: boolean;
  readonly nodes?: number;
  readonly gpu?: string;
  readonly nvlinkDomain?: number;
  readonly calibration?: string;
}
