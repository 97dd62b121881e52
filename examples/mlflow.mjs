// Logs a training run to MLflow through its REST interface: the adapter below is all that a tracker needs.
// Usage, with a server that runs: node examples/mlflow.mjs http://localhost:5000 [folder]
import { openDevice } from 'rectiflow';
import { loadConfig, train } from 'rectiflow/run';

/** A logger that creates a run of the default experiment of an MLflow server. */
function mlflowLogger(server) {
  let run;
  async function post(what, body) {
    const url = `${server}/api/2.0/mlflow/runs/${what}`;
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ run_id: run, ...body }) });
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
    return answer.json();
  }
  return {
    name: 'MLflow',
    async config({ optim, training }, { workdir }) {
      run = (await post('create', { experiment_id: '0', run_name: workdir, start_time: Date.now() })).run.info.run_id;
      const values = { lr: optim.lr, optimizer: optim.optimizer, batch_size: training.batch_size };
      await post('log-batch', {
        params: Object.entries(values).map(([key, value]) => ({ key, value: String(value) })),
      });
    },
    async scalars(step, values) {
      const metrics = Object.entries(values).map(([key, value]) => ({ key, value, step, timestamp: Date.now() }));
      await post('log-batch', { metrics });
    },
    async close(end) {
      await post('update', { status: end === 'done' ? 'FINISHED' : 'KILLED', end_time: Date.now() });
    },
  };
}

const [server, workdir = 'runs/mlflow'] = process.argv.slice(2);
const training = { n_iters: 20, log_freq: 5, batch_size: 16, snapshot_sampling: false };
const config = await loadConfig('digits', { model: { nf: 8 }, training });
const notice = (text) => console.log(text);
const { loss } = await train(config, {
  workdir,
  device: await openDevice('cpu'),
  loggers: [mlflowLogger(server)],
  onNotice: notice,
});
console.log(`loss ${loss.toFixed(3)}`);
