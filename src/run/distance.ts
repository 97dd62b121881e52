// What reflow.reflow_loss stands for (official losses.py): the squared difference of velocities is part of the loss itself,
// here are the others.
//   pseudo-huber   of velocities
//   lpips          LPIPS of the images x0 + v and x1, for distillation from t = 0 to one step
//   lpips+l2       their sum
import type { Device } from '../device/device.ts';
import { ConfigError, FileError } from '../errors.ts';
import { Lpips } from '../eval/index.ts';
import { type Distance, pseudoHuber } from '../flow/index.ts';
import { add, mul, sub } from '../kernels/elementwise.ts';
import { mse } from '../kernels/loss.ts';
import { mean } from '../kernels/reduce.ts';
import type { Config } from './config/schema.ts';
import { weightsFile } from './user_files.ts';

export interface OpenDistance extends Disposable {
  /** undefined: the squared difference. */
  distance: Distance | undefined;
}

/**
 * Asked before anything else of a run: the weights of LPIPS are not part of the package.
 * @throws ConfigError for lpips with other times than t0 or grey images, FileError for weights that cannot be had
 */
export async function openDistance(
  config: Config,
  options: { device: Device; onNotice?: (text: string) => void },
): Promise<OpenDistance> {
  const { reflow_loss: loss, reflow_t_schedule: schedule, vgg16 } = config.reflow;
  if (loss === 'l2' || loss === 'pseudo-huber')
    return { distance: loss === 'l2' ? undefined : pseudoHuber, [Symbol.dispose]() {} };
  const wayOn = 'or add --config.reflow.reflow_loss l2';
  if (schedule !== 't0')
    throw new ConfigError(
      `reflow.reflow_loss ${loss} compares images, so it needs reflow.reflow_t_schedule t0; ${wayOn}`,
    );
  if (config.data.num_channels !== 3)
    throw new ConfigError(
      `reflow.reflow_loss ${loss} is for images of 3 channels, not ${config.data.num_channels}; ${wayOn}`,
    );
  const lpips = await openLpips(vgg16, wayOn, options);
  const { centered } = config.data;
  const image = (x: Parameters<Distance>[0]) => (centered ? x : sub(mul(x, 2), 1));
  const scale = config.training.reduce_mean ? 1 : 0.5;
  return {
    distance: (v, x0, x1) => {
      const perceptual = mean(lpips.forward(image(add(x0, v)), image(x1)));
      return mul(loss === 'lpips' ? perceptual : add(perceptual, mse(v, sub(x1, x0))), scale);
    },
    [Symbol.dispose]: () => lpips[Symbol.dispose](),
  };
}

async function openLpips(
  path: string,
  wayOn: string,
  { device, onNotice }: { device: Device; onNotice?: (text: string) => void },
): Promise<Lpips> {
  try {
    return await Lpips.load(await weightsFile('vgg16', path, onNotice), { device });
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw new FileError(error.path, `${error.message.slice(error.path.length + 2)}; ${wayOn}`, { cause: error });
  }
}
