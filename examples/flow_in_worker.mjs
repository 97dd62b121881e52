// Training in a worker thread: kernels block the thread they run on, so a program that must stay responsive gives them
// one of their own. Messages carry progress; a signal crosses the border as a message too.
//   node examples/flow_in_worker.mjs [steps]
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { openDevice } from 'rectiflow';
import { loadConfig, train } from 'rectiflow/run';

if (isMainThread) {
  const steps = Number(process.argv[2] ?? 100);
  const worker = new Worker(new URL(import.meta.url), { workerData: { steps, workdir: 'runs/worker' } });
  // The main thread stays responsive while the worker trains; the message 'stop' ends the run after the current step.
  process.once('SIGINT', () => worker.postMessage('stop'));
  let ticks = 0;
  const timer = setInterval(() => ticks++, 10);
  worker.on('message', ({ step, loss, done }) => {
    if (done) console.log(`done: ${done}; the main thread ticked ${ticks > 0 ? 'all the while' : 'never'}`);
    else if (step % 20 === 0) console.log(`step ${step}  loss ${loss.toFixed(3)}`);
  });
  worker.on('exit', () => clearInterval(timer));
} else {
  const { steps, workdir } = workerData;
  const controller = new AbortController();
  parentPort.on('message', () => controller.abort());
  const config = await loadConfig('digits', { training: { n_iters: steps }, model: { nf: 16 } });
  const { checkpoint } = await train(config, {
    workdir,
    device: await openDevice('cpu'),
    signal: controller.signal,
    onStep: ({ step, loss }) => parentPort.postMessage({ step, loss }),
  });
  parentPort.postMessage({ done: checkpoint });
  parentPort.close();
}
