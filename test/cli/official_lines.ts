// The command lines of the official README, verbatim and in order, without the program.
const configs = './configs/rectified_flow';

/** The README's name of the tenth checkpoint; the program writes checkpoint_10. */
export const teacher = './logs/1_rectified_flow/checkpoints/checkpoint-10.pth';
export const second = './logs/2_rectified_flow/checkpoints/checkpoint-10.pth';
const pairs = (flow: number) => `"./assets/reflow_data/${flow}_rectified_flow/"`;

export const officialLines = {
  train: `--config ${configs}/cifar10_rf_gaussian_ddpmpp.py --eval_folder eval --mode train --workdir ./logs/1_rectified_flow`,
  evaluate: `--config ${configs}/cifar10_rf_gaussian_ddpmpp.py --eval_folder eval --mode eval --workdir ./logs/1_rectified_flow --config.eval.enable_sampling  --config.eval.batch_size 1024 --config.eval.num_samples 50000 --config.eval.begin_ckpt 2`,
  generate: `--config ${configs}/cifar10_rf_gaussian_reflow_generate_data.py  --eval_folder eval --mode reflow --workdir ./logs/tmp --config.reflow.last_flow_ckpt "${teacher}" --config.reflow.data_root ${pairs(1)} --config.reflow.total_number_of_samples 100000 --config.seed 0`,
  reflow: `--config ${configs}/cifar10_rf_gaussian_reflow_train.py  --eval_folder eval --mode reflow --workdir ./logs/2_rectified_flow --config.reflow.last_flow_ckpt "${teacher}" --config.reflow.data_root ${pairs(1)}`,
  evaluateOneStep: `--config ${configs}/cifar10_rf_gaussian_ddpmpp.py --eval_folder eval --mode eval --workdir ./logs/2_rectified_flow --config.sampling.use_ode_sampler "euler" --config.sampling.sample_N 1 --config.eval.enable_sampling  --config.eval.batch_size 1024 --config.eval.num_samples 50000 --config.eval.begin_ckpt 2`,
  generateAgain: `--config ${configs}/cifar10_rf_gaussian_reflow_generate_data.py  --eval_folder eval --mode reflow --workdir ./logs/tmp --config.reflow.last_flow_ckpt "${second}" --config.reflow.data_root ${pairs(2)} --config.reflow.total_number_of_samples 100000 --config.seed 0`,
  distilToOne: `--config ${configs}/cifar10_rf_gaussian_reflow_distill_k=1.py  --eval_folder eval --mode reflow --workdir ./logs/2_rectified_flow_k=1_distill --config.reflow.last_flow_ckpt "${second}" --config.reflow.data_root ${pairs(2)}`,
  distilToTwo: `--config ${configs}/cifar10_rf_gaussian_reflow_distill_k_g_1.py  --eval_folder eval --mode reflow --config.reflow.reflow_t_schedule 2 --workdir ./logs/2_rectified_flow_k=2_distill --config.reflow.last_flow_ckpt "${second}" --config.reflow.data_root ${pairs(2)}`,
  reflowOnline: `--config ${configs}/cifar10_rf_gaussian_reflow_train_online.py --eval_folder eval --mode reflow --workdir ./logs/2_rectified_flow --config.reflow.last_flow_ckpt "${teacher}"`,
  distilOnline: `--config ${configs}/cifar10_rf_gaussian_reflow_distill_k=1_online.py --eval_folder eval --mode reflow --workdir ./logs/1_rectified_flow_k=1_distill --config.reflow.last_flow_ckpt "${teacher}"`,
  trainCelebaHq: `--config ${configs}/celeba_hq_pytorch_rf_gaussian.py --eval_folder eval --mode train --workdir ./logs/celebahq`,
  figures: `--config ${configs}/celeba_hq_pytorch_rf_gaussian.py --eval_folder eval --mode eval --workdir ./logs/celebahq --config.eval.enable_figures_only --config.eval.begin_ckpt 10 --config.eval.end_ckpt 10 --config.training.data_dir YOUR_DATA_DIR`,
  evaluatePretrained: `--config ${configs}/cifar10_rf_gaussian_ddpmpp.py --eval_folder eval --mode eval --workdir ./logs/1_rectified_flow --config.eval.enable_sampling  --config.eval.batch_size 1024 --config.eval.num_samples 50000 --config.eval.begin_ckpt 8`,
} as const;

/** Splits a line into words as a shell does, with double quotes. */
export function wordsOf(line: string): string[] {
  return [...line.matchAll(/(?:"[^"]*"|[^\s"])+/g)].map(([word]) => word.replaceAll('"', ''));
}
