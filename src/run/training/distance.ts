// The distances that reflow.reflow_loss selects (official losses.py), except l2, which is part of the loss itself.
//   pseudo-huber   pseudo-Huber distance of velocities
//   lpips          LPIPS of the images x0 + v and x1, for distillation from t = 0 to one step; latents are decoded first
//   lpips+l2       sum of LPIPS and the squared difference
//   lpips-huber    t H(v - (x1 - x0)) + LPIPS(x_t + (1 - t) v, x1) / (1 - t),
//                  H(e) = (sqrt(||e||^2 + c^2) - c) / d, c = 0.00054 d, d dimensions, at every time: Lee, Lin, Fanti 2024,
//                  section 4.2, with the 1/t of their best CIFAR-10 configuration. Their time is 1 - t. They also
//                  upsample the images to 224, which this code does not. At t0, H has weight 1e-3, so LPIPS dominates
import type { Device } from '../../device/device.ts';
import { ConfigError, FileError } from '../../errors.ts';
import { Lpips } from '../../eval/index.ts';
import { type Distance, pseudoHuber, pseudoHubers } from '../../flow/index.ts';
import { add, div, maximum, mul, sub } from '../../kernels/elementwise.ts';
import { mse } from '../../kernels/loss.ts';
import { reshape } from '../../kernels/movement.ts';
import { mean } from '../../kernels/reduce.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Config } from '../config/types.ts';
import { openDecoder } from '../latents/decoder.ts';
import { hasLatents } from '../latents/network.ts';
import { weightsFile } from '../machine/user_files.ts';

/** Lower bound of the 1 - t that lpips-huber divides by, as in its published code. */
const NEAREST = 1e-5;

interface OpenDistance extends Disposable {
  /** undefined for l2, the squared difference. */
  distance: Distance | undefined;
}

/**
 * Opens the distance of a configuration. Runs call it first, because the weights of LPIPS are not part of the package.
 * @throws ConfigError for a schedule that the distance does not support, or for images without 3 channels; FileError
 * for weights that cannot be read or downloaded
 */
export async function openDistance(
  config: Config,
  options: { device: Device; onNotice?: (text: string) => void },
): Promise<OpenDistance> {
  const { reflow_loss: loss, reflow_t_schedule: schedule, vgg16 } = config.reflow;
  if (loss === 'l2' || loss === 'pseudo-huber')
    return { distance: loss === 'l2' ? undefined : pseudoHuber, [Symbol.dispose]() {} };
  const remedy = 'or add --config.reflow.reflow_loss l2';
  if (loss === 'lpips-huber' ? schedule === 't1' : schedule !== 't0')
    throw new ConfigError(
      `reflow.reflow_loss ${loss} compares images, so it ` +
        `${loss === 'lpips-huber' ? 'cannot have' : 'needs'} reflow.reflow_t_schedule ` +
        `${loss === 'lpips-huber' ? 't1, which ends at noise' : 't0'}; ${remedy}`,
    );
  const latent = hasLatents(config);
  if (!latent && config.data.num_channels !== 3)
    throw new ConfigError(
      `reflow.reflow_loss ${loss} expects images of 3 channels, got ${config.data.num_channels}; ${remedy}`,
    );
  const lpips = await openLpips(vgg16, remedy, options);
  const decoder = latent
    ? await openDecoder(config, options.device).catch((error) => {
        lpips[Symbol.dispose]();
        throw error;
      })
    : undefined;
  const { centered } = config.data;
  const image = (x: Tensor) => decoder?.decode(x) ?? (centered ? x : sub(mul(x, 2), 1));
  const perceptual: Perceptual = (a, b) => lpips.forward(image(a), image(b));
  const measure = loss === 'lpips-huber' ? lpipsHuber(perceptual) : oneStep(perceptual, loss === 'lpips+l2');
  // As in the official code, a distance of images is halved without reduce_mean, although it is not a sum over
  // dimensions.
  const scale = config.training.reduce_mean ? 1 : 0.5;
  return {
    distance: (v, x0, x1, t) => mul(measure(v, x0, x1, t), scale),
    [Symbol.dispose]() {
      lpips[Symbol.dispose]();
      decoder?.[Symbol.dispose]();
    },
  };
}

/** Distances [N] between two batches of images in network range. */
type Perceptual = (a: Tensor, b: Tensor) => Tensor;

function oneStep(perceptual: Perceptual, squared: boolean): Distance {
  return (v, x0, x1) => {
    const distance = mean(perceptual(add(x0, v), x1));
    return squared ? add(distance, mse(v, sub(x1, x0))) : distance;
  };
}

function lpipsHuber(perceptual: Perceptual): Distance {
  return (v, x0, x1, t) => {
    const dimensions = x1.size / x1.shape[0];
    const rest = sub(1, t);
    // x_t + (1 - t) v: where a straight path from x_t ends.
    const end = add(x1, mul(reshape(rest, [t.size, ...x1.shape.slice(1).map(() => 1)]), sub(v, sub(x1, x0))));
    const huber = div(pseudoHubers(v, x0, x1, 0.00054 * dimensions), dimensions);
    return mean(add(mul(t, huber), div(perceptual(end, x1), maximum(rest, NEAREST))));
  };
}

async function openLpips(
  path: string,
  remedy: string,
  { device, onNotice }: { device: Device; onNotice?: (text: string) => void },
): Promise<Lpips> {
  try {
    return await Lpips.load(await weightsFile('vgg16', path, onNotice), { device });
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw new FileError(error.path, `${error.problem}; ${remedy}`, { cause: error });
  }
}
