// Samples of a checkpoint over HTTP, as `rectiflow serve` does it, in a program of one's own:
//   node examples/sampling_server.mjs CHECKPOINT [port]
//   curl -d '{"count": 16, "seed": 1}' -H 'Content-Type: application/json' http://127.0.0.1:8080/sample > samples.png
import { openDevice } from 'rectiflow';
import { loadCheckpoint, resolveConfig, serveSamples } from 'rectiflow/run';

const [path, port = '8080'] = process.argv.slice(2);
const config = await resolveConfig((await loadCheckpoint(path)).config, path);
const server = await serveSamples(path, config, { device: await openDevice('cpu'), port: Number(port) });
console.log(`listening on ${server.url}`);
process.once('SIGTERM', () => server.close());
