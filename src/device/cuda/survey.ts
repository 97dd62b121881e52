// Reports the machine's CUDA driver, compiler and cards for `doctor`, each with a description or the reason why it cannot be used.
import { DeviceError } from '../../errors.ts';
import { type CudaModule, declaredModules } from '../module.ts';
import { type Card, type Driver, openDriver } from '../native/libcuda.ts';
import { type Nvrtc, openNvrtc } from '../native/libnvrtc.ts';
import { chooseTarget } from './architecture.ts';
import { CudaCompiler } from './compiler.ts';
import { readVerdict } from './verified_builds.ts';

export interface CudaPart {
  works: boolean;
  text: string;
}

/** @returns also for each card what checks of the fast builds of kernels found on it */
export function surveyCuda(): { driver: CudaPart; nvrtc: CudaPart; cards: CudaPart[]; kernels: CudaPart[] } {
  let cards: Card[] = [];
  let library: Driver | undefined;
  let compiler: Nvrtc | undefined;
  const driver = examine(() => {
    const opened = openDriver();
    cards = Array.from({ length: opened.cards }, (_, i) => opened.card(i));
    library = opened;
    return `CUDA ${opened.version}, ${cards.length} card(s)`;
  });
  const nvrtc = examine(() => {
    compiler = openNvrtc();
    if (library) checkVersions(library.version, compiler.version);
    return `${compiler.version}, for sm_${compiler.architectures.join(', sm_')}`;
  });
  return {
    driver,
    nvrtc,
    cards: cards.map((card) => examine(() => describe(card, compiler))),
    kernels: cards.map((card) => examine(() => describeChecks(card, library as Driver, compiler))),
  };
}

/**
 * A driver loads images from an NVRTC of the same or an older major version.
 * @throws DeviceError if the compiler is newer
 */
export function checkVersions(driver: string, nvrtc: string): void {
  const major = (version: string) => Number(version.split('.')[0]);
  if (major(nvrtc) > major(driver))
    throw new DeviceError(
      `NVRTC ${nvrtc} is newer than the driver, which serves CUDA ${driver}: update the driver, or name an NVRTC of CUDA ` +
        `${major(driver)} by LIBNVRTC_PATH`,
    );
}

function describe(card: Card, nvrtc: Nvrtc | undefined): string {
  const text = `${card.name}, ${(card.memory / 2 ** 30).toFixed(1)} GiB, sm_${card.architecture}`;
  return nvrtc ? `${text}; kernels for ${chooseTarget(card, nvrtc).name}` : text;
}

/** @throws DeviceError naming the builds that are not used */
function describeChecks(card: Card, driver: Driver, nvrtc: Nvrtc | undefined): string {
  const fast = declaredModules().filter(
    (module): module is CudaModule => 'twin' in module && module.twin !== undefined,
  );
  if (!nvrtc) return 'no fast builds without NVRTC';
  const target = chooseTarget(card, nvrtc);
  const compiler = new CudaCompiler(nvrtc, target);
  const some = fast.filter((build) => build.target === undefined || build.target === target.name);
  const verdicts = some.flatMap((build) => {
    const verdict = readVerdict(compiler, build, card, driver);
    return verdict ? [{ build, ...verdict }] : [];
  });
  const unused = verdicts.flatMap(({ build, reason }) => (reason === undefined ? [] : [`${build.name} (${reason})`]));
  const counted = `${verdicts.length} of ${some.length} fast builds checked on this card`;
  if (unused.length > 0) throw new DeviceError(`${counted}; not used: ${unused.join(', ')}`);
  return `${counted}; ${verdicts.length === some.length ? 'all' : 'these'} agree with the portable kernels`;
}

function examine(look: () => string): CudaPart {
  try {
    return { works: true, text: look() };
  } catch (error) {
    return { works: false, text: (error as Error).message };
  }
}
