/** Clusters and models as people name them: a preset, or a file. */
import { clusterPresets, getCluster, getModel, readCluster, readModel, type Cluster, type MoeModel } from '@monta/core';
import { InputError, modelPresets } from '@monta/core';
import { pathExists, readTextFile } from './files.js';

/** Whether a person means a file: the text has a folder or an ending that files have, or there is such a file. */
function meansFile(text: string): boolean {
  return /[/\\]|\.(?:ya?ml|json)$/iu.test(text) || pathExists(text);
}

/** Adds to the complaint about an unknown name that a file would do too. */
function orFile<T>(text: string, known: ReadonlyMap<string, unknown>, kind: string, get: () => T): T {
  try {
    return get();
  } catch (error) {
    if (!(error instanceof InputError) || known.has(text) || error.hint !== undefined) throw error;
    throw error.at({ hint: `or the path of a ${kind} file; there is no file of this name` });
  }
}

/** Reads a cluster: `a800-2x8`, `h100-16x8`, `cluster.yaml`. Throws `InputError`. */
export function loadCluster(nameOrFile: string): Cluster {
  return meansFile(nameOrFile)
    ? readCluster(readTextFile(nameOrFile), nameOrFile)
    : orFile(nameOrFile, clusterPresets, 'cluster', () => getCluster(nameOrFile));
}

/** Reads a model: `mixtral-8x7b`, a Hugging Face `config.json`, a shape in YAML. Throws `InputError`. */
export function loadModel(nameOrFile: string): MoeModel {
  return meansFile(nameOrFile)
    ? readModel(readTextFile(nameOrFile), nameOrFile)
    : orFile(nameOrFile, modelPresets, 'model', () => getModel(nameOrFile));
}
