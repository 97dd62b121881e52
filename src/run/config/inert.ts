// Keys that have no effect with certain values of other keys. They are validated and kept; setting one by hand causes a
// notice.
import { checkArgument } from '../../arguments.ts';
import { pathList } from './official_flags.ts';
import { requireConfig } from './require.ts';
import { type Config, hasEncodedImages, type KeyPath } from './schema.ts';

/** For each key, the setting because of which it has no effect, as "key value"; undefined if it has an effect. */
const conditions: { readonly [Path in KeyPath]?: (config: Config) => string | undefined } = {
  'data.category': ({ data }) => unless(data.dataset === 'LSUN', 'data.dataset', data.dataset),
  'data.exif_orientation': ({ data }) => unless(hasEncodedImages(data), 'data.dataset', data.dataset),
  'model.fourier_scale': ({ model }) =>
    unless(model.embedding_type === 'fourier', 'model.embedding_type', model.embedding_type),
  'model.fir_kernel': ({ model }) => unless(model.fir, 'model.fir', model.fir),
  'model.resamp_with_conv': ({ model }) =>
    unless(model.resblock_type === 'ddpm', 'model.resblock_type', model.resblock_type),
  'model.progressive_combine': ({ model }) =>
    unless(model.progressive_input === 'input_skip', 'model.progressive_input', model.progressive_input),
  'optim.beta1': ({ optim }) => unless(optim.optimizer !== 'SGD', 'optim.optimizer', optim.optimizer),
  'optim.beta2': ({ optim }) => unless(optim.optimizer !== 'SGD', 'optim.optimizer', optim.optimizer),
  'optim.eps': ({ optim }) => unless(!['SGD', 'Lion'].includes(optim.optimizer), 'optim.optimizer', optim.optimizer),
  'optim.momentum': ({ optim }) =>
    unless(['SGD', 'Muon'].includes(optim.optimizer), 'optim.optimizer', optim.optimizer),
  'optim.nesterov': ({ optim }) =>
    unless(['SGD', 'Muon'].includes(optim.optimizer), 'optim.optimizer', optim.optimizer),
  'optim.muon_lr': ({ optim }) => unless(optim.optimizer === 'Muon', 'optim.optimizer', optim.optimizer),
  'optim.schedule_steps': ({ optim }) => unless(optim.schedule !== 'constant', 'optim.schedule', optim.schedule),
  'optim.schedule_factor': ({ optim }) => unless(optim.schedule !== 'constant', 'optim.schedule', optim.schedule),
  'training.time_mean': ({ training }) =>
    unless(training.time_law === 'logit_normal', 'training.time_law', training.time_law),
  'training.time_deviation': ({ training }) =>
    unless(training.time_law === 'logit_normal', 'training.time_law', training.time_law),
  'training.time_steepness': ({ training }) =>
    unless(training.time_law === 'u_shaped', 'training.time_law', training.time_law),
  'sampling.ode_tol': ({ sampling }) =>
    unless(sampling.use_ode_sampler === 'rk45', 'sampling.use_ode_sampler', sampling.use_ode_sampler),
  'sampling.sample_N': ({ sampling }) =>
    unless(sampling.use_ode_sampler !== 'rk45', 'sampling.use_ode_sampler', sampling.use_ode_sampler),
  'sampling.sigma_variance': ({ sampling }) =>
    unless(
      sampling.sigma_variance === 0 || sampling.use_ode_sampler === 'euler',
      'sampling.use_ode_sampler',
      sampling.use_ode_sampler,
    ),
  'sampling.sde_drift': ({ sampling }) => unless(sampling.sigma_variance > 0, 'sampling.sigma_variance', 0),
  'reflow.real_data_root': ({ reflow }) => unless(reflow.real_data_ratio > 0, 'reflow.real_data_ratio', 0),
  'reflow.vgg16': ({ reflow }) => unless(/lpips/.test(reflow.reflow_loss), 'reflow.reflow_loss', reflow.reflow_loss),
  'chain.pair_tol': ({ chain }) => unless(chain.pair_sampler === 'rk45', 'chain.pair_sampler', chain.pair_sampler),
  'chain.pair_steps': ({ chain }) => unless(chain.pair_sampler !== 'rk45', 'chain.pair_sampler', chain.pair_sampler),
  'chain.reflow_iters': ({ chain }) => unless(chain.flows > 1, 'chain.flows', chain.flows),
  'chain.distil_iters': ({ chain }) => unless(chain.distil_steps > 0, 'chain.distil_steps', 0),
};

function unless(effective: boolean, key: string, value: unknown): string | undefined {
  return effective ? undefined : `${key} ${value}`;
}

/** One line for each of these keys that has no effect in a configuration: "sampling.ode_tol has no effect with ...". */
export function describeInertKeys(config: Config, keys: readonly string[]): string[] {
  requireConfig('describeInertKeys', config);
  checkArgument('describeInertKeys', 'keys', keys, pathList);
  return keys.flatMap((key) => {
    const setting = Object.hasOwn(conditions, key) ? conditions[key as KeyPath]?.(config) : undefined;
    return setting === undefined ? [] : [`${key} has no effect with ${setting}`];
  });
}
