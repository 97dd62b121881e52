// Fast builds of CUDA kernels. A fast build uses tensor cores, the instructions of one architecture or wide accesses, and names the
// portable build that can serve in its place, its twin. Before a card first runs it, both compute the same small problem there
// (cuda/verified_builds.ts). The checks are code of higher layers, which is loaded when a card opens.
import { loadWith } from './companions.ts';
import type { Device } from './device.ts';
import type { CudaModule } from './module.ts';

/** What one launch of a check computed. */
export interface CheckResult {
  /** The function and the sizes, for messages. */
  what: string;
  values: Float32Array;
  /** The largest difference from the twin that is allowed, over the twin's largest value; 0: the bits are the same. */
  tolerance: number;
}

/**
 * Computes a small problem with each kernel of a build. It is called twice, once with the build and once with its twin, which the
 * device chooses for it.
 * @param seed of the operands; it differs between builds, so that no build finds the results of another in its memory
 */
export type FastCheck = (device: Device, build: CudaModule, seed: number) => CheckResult[];

const checks = new Map<CudaModule, FastCheck>();

/** Has the check of those among `builds` that have a twin loaded when a card opens. */
export function checkedBy(builds: readonly CudaModule[], load: () => Promise<FastCheck>): void {
  const add = async () => {
    const check = await load();
    for (const build of builds) if (build.twin) checks.set(build, check);
  };
  loadWith('cuda', add, true);
}

/** The check of a build; undefined before a card was opened. */
export function checkOf(build: CudaModule): FastCheck | undefined {
  return checks.get(build);
}

/**
 * The build to launch.
 * @param builds that can do the work
 * @param usual the one that was chosen among them by shape
 * @returns undefined where its twin serves in its place
 */
export function chooseBuild<Build extends { readonly module: CudaModule }>(
  { fastBuilds }: Device,
  builds: readonly Build[],
  usual: Build,
): Build | undefined {
  return fastBuilds ? fastBuilds.choose(builds, usual) : usual;
}
