// The parts of `npm run gpu`. Each is a list of items that are short enough to be run or skipped as a whole.
import { type Precision, precisions } from '../../src/device/device.ts';
import { declaredModules } from '../../src/device/module.ts';
import { openDevice, setDefaultDevice } from '../../src/device/open.ts';
import { type Check, loadChecks } from './checks.ts';
import { expectedCurve, lossCurve, STEPS, WINDOW } from './curve.ts';
import { checkHopper, hopperChecks } from './hopper.ts';
import { checkProducts, productChecks } from './hopper_products.ts';
import { compareTraining, copyRate, kernelTimes, launchGap, medianTime, trainingRate } from './measure.ts';
import { findTorch, runScript, scripts } from './pytorch.ts';
import type { ItemResult } from './results_file.ts';
import { timedRows, timeShape } from './shapes.ts';
import { sweepPass, sweptPasses } from './sweep.ts';

/** In the order in which they run: what only a card can tell comes first, and the opponent before the long lists. */
export const partNames = [
  'prepare',
  'hopper',
  'step',
  'pytorch',
  'shapes',
  'ceilings',
  'golden',
  'curve',
  'ops',
  'kernels',
  'sweep',
] as const;
/** The parts that run by default. */
export const usualParts: readonly string[] = partNames.filter((name) => name !== 'sweep');
/** The sweep's item that measures cuDNN. */
export const CUDNN = 'cuDNN';

export interface Part {
  name: (typeof partNames)[number];
  /** One line for people. */
  what: string;
  items: {
    name: string;
    /** Seconds that it may need; it is not started with less time left. */
    seconds: number;
    run(secondsLeft: number): Promise<ItemResult> | ItemResult;
  }[];
}

/**
 * Tolerance of a window's mean loss relative to the CPU's: noise and images are the same, rounding is not. Differences grow during
 * training: on the CPU, a learning rate changed by 1e-5 moves the windows of the first 40 steps by 1e-6 and later ones by up to 1.6e-2.
 */
const curveTolerance: Record<Precision, { early: number; late: number }> = {
  fp32: { early: 1e-3, late: 0.05 },
  tf32: { early: 0.01, late: 0.05 },
  bf16: { early: 0.03, late: 0.05 },
};
const EARLY = 40;

const NO_TORCH = 'no Python with torch for this card; RECTIFLOW_TORCH_PYTHON names one';

const MEBIBYTE = 2 ** 20;

/** Opens the first card, which becomes the default device. */
async function card(precision: Precision) {
  const device = await openDevice('cuda', { precision });
  setDefaultDevice(device);
  return device;
}

export async function makeParts(options: { precision: readonly Precision[]; filter: string }): Promise<Part[]> {
  const checks = await loadChecks();
  const wanted = precisions.filter((precision) => options.precision.includes(precision));
  const matching = <Named extends { name: string }>(all: Named[]) =>
    all.filter(({ name }) => options.filter.split('|').some((text) => name.includes(text)));
  const checked = (of: (precision: Precision) => Check[]) =>
    wanted.flatMap((precision) =>
      matching(of(precision)).map(({ name, run }) => ({
        name: `${name} in ${precision}`,
        seconds: 5,
        run: async () => {
          await run(await card(precision));
          return {};
        },
      })),
    );
  const fastest = wanted.at(-1);
  const parts: Part[] = [
    {
      name: 'prepare',
      what: 'kernels that the cache lacks are compiled, several at a time',
      items: wanted.map((precision) => ({
        name: `kernels in ${precision}`,
        seconds: 60,
        run: async () => {
          await (await card(precision)).prepare(declaredModules());
          return {};
        },
      })),
    },
    {
      name: 'hopper',
      what: 'convolutions and matrix products of sm_90a, each tile and pass, against the portable kernels',
      items: wanted.includes('bf16')
        ? [
            ...matching(hopperChecks()).map((check) => ({
              name: check.name,
              seconds: 10,
              run: async () => checkHopper(await card('bf16'), await card('fp32'), check),
            })),
            ...matching(productChecks()).map((check) => ({
              name: check.name,
              seconds: 10,
              run: async () => checkProducts(await card('bf16'), await card('fp32'), check),
            })),
          ]
        : [],
    },
    { name: 'ops', what: 'cases of the op table against the float64 reference', items: checked(checks.opChecks) },
    { name: 'golden', what: "networks against the official code's numbers", items: checked(checks.goldenChecks) },
    {
      name: 'curve',
      what: `${STEPS} training steps in each precision against the CPU's losses`,
      items: wanted.map((precision) => ({
        name: `small CIFAR network in ${precision}`,
        seconds: 60,
        run: async () => compareCurve(await lossCurve(await card(precision)), curveTolerance[precision]),
      })),
    },
    {
      name: 'ceilings',
      what: 'copies from memory and from L2, gap between launches',
      items: matching([
        { name: 'copy of 1 GiB', seconds: 10, run: async () => copyRate(await card('fp32'), 1024 * MEBIBYTE) },
        { name: 'copy of 16 MiB', seconds: 10, run: async () => copyRate(await card('fp32'), 16 * MEBIBYTE) },
        { name: 'empty kernels', seconds: 10, run: async () => launchGap(await card('fp32')) },
      ]),
    },
    {
      name: 'step',
      what: 'training steps of the official CIFAR-10 network, batch 128, as one graph',
      items: (fastest ? [fastest] : []).flatMap((precision) => [
        {
          name: `DDPM++ at batch 128 in ${precision}`,
          seconds: 90,
          run: async () => trainingRate(await card(precision), 128, 15),
        },
        {
          name: `time of each kernel within a step in ${precision}`,
          seconds: 60,
          run: async () => kernelTimes(await card(precision), 128),
        },
        ...(precision === 'fp32'
          ? []
          : [
              {
                name: `losses and gradients in ${precision} against fp32`,
                seconds: 60,
                run: async () => compareTraining(await card(precision), await card('fp32'), 128, 3),
              },
            ]),
      ]),
    },
    {
      name: 'shapes',
      what: "each pass of that network's convolutions, batch 128, in bf16",
      items: wanted.includes('bf16')
        ? matching(timedRows()).map((row) => ({
            name: row.name,
            seconds: 3,
            run: async () => timeShape(await card('bf16'), row),
          }))
        : [],
    },
    {
      name: 'kernels',
      what: 'forward times of the op table at the sizes of layers',
      items: wanted.flatMap((precision) =>
        matching(checks.timings()).map(({ name, prepare }) => ({
          name: `${name} in ${precision}`,
          seconds: 3,
          run: async () => {
            const device = await card(precision);
            const { forward, flops, bytes, dispose } = prepare(device);
            const milliseconds = medianTime(device, forward);
            dispose();
            return {
              values: {
                milliseconds,
                ...(flops ? { teraflops: flops / milliseconds / 1e9 } : {}),
                ...(bytes ? { gigabytesPerSecond: bytes / milliseconds / 1e6 } : {}),
              },
            };
          },
        })),
      ),
    },
    {
      name: 'pytorch',
      what: 'PyTorch for comparison, if a Python has torch with CUDA: ceilings, cuDNN by shape, the network three ways',
      items: scripts.map((name) => ({
        name,
        seconds: 60,
        run: (secondsLeft) => {
          const python = findTorch();
          if (!python) return { skipped: true, detail: NO_TORCH };
          return runScript(python, name, Math.min(150, secondsLeft));
        },
      })),
    },
    {
      name: 'sweep',
      what: "each pass of that network's convolutions with every tile of sm_90a, and with cuDNN if PyTorch is installed",
      items: [
        ...matching(sweptPasses()).map((pass) => ({
          name: pass.name,
          seconds: 5,
          run: async () => sweepPass(await card('bf16'), pass),
        })),
        ...matching([{ name: CUDNN }]).map(({ name }) => ({
          name,
          seconds: 60,
          run: (secondsLeft: number) => {
            const python = findTorch();
            return python
              ? runScript(python, 'cudnn', Math.min(150, secondsLeft))
              : { skipped: true, detail: NO_TORCH };
          },
        })),
      ],
    },
  ];
  return partNames.map((name) => parts.find((part) => part.name === name) as Part);
}

/** @throws Error naming the first window that exceeds the tolerance */
function compareCurve(losses: readonly number[], { early, late }: { early: number; late: number }): ItemResult {
  const expected = expectedCurve();
  let worst = 0;
  for (let from = 0; from < expected.length; from += WINDOW) {
    const mean = (values: readonly number[]) =>
      values.slice(from, from + WINDOW).reduce((sum, value) => sum + value, 0) / WINDOW;
    const off = Math.abs(mean(losses) / mean(expected) - 1);
    if (!(off <= (from < EARLY ? early : late)))
      throw new Error(`steps ${from} to ${from + WINDOW}: mean loss ${mean(losses)}, the CPU's is ${mean(expected)}`);
    worst = Math.max(worst, off);
  }
  return { values: { worstWindow: worst, lastLoss: losses.at(-1) as number } };
}
