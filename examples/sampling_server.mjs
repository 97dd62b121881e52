// Samples of a checkpoint over HTTP: GET /?n=16&seed=1&steps=10 answers with a PNG grid. Requests are served one after
// the other, since a device has one queue.
//   node examples/sampling_server.mjs CHECKPOINT [port]
import { createServer } from 'node:http';
import { openDevice } from 'rectiflow';
import { encodePng, imageGrid } from 'rectiflow/io';
import { loadCheckpoint, pixels, resolveConfig, sampleFromCheckpoint } from 'rectiflow/run';

const [path, port = '8080'] = process.argv.slice(2);
const config = await resolveConfig((await loadCheckpoint(path)).config, path);
const device = await openDevice('cpu');
let queue = Promise.resolve();

async function draw({ searchParams }) {
  const [num, seed, steps] = ['n', 'seed', 'steps'].map((name, i) => Number(searchParams.get(name) ?? [16, 0, 10][i]));
  if (![num, seed, steps].every(Number.isSafeInteger) || num < 1 || num > 256 || steps < 1 || steps > 1000 || seed < 0)
    return {
      status: 400,
      type: 'text/plain',
      body: 'n from 1 to 256, steps from 1 to 1000, seed a whole number >= 0\n',
    };
  const request = { num, seed, steps, solver: 'euler', device };
  const { images, shape } = await sampleFromCheckpoint(path, config, request);
  return { status: 200, type: 'image/png', body: await encodePng(imageGrid(pixels(images, config, 'nearest'), shape)) };
}

const server = createServer((request, response) => {
  queue = queue
    .then(() => draw(new URL(request.url, 'http://localhost')))
    .catch((error) => ({ status: 500, type: 'text/plain', body: `${error.message}\n` }))
    .then(({ status, type, body }) => response.writeHead(status, { 'content-type': type }).end(body));
});
server.listen(Number(port), () => console.log(`listening on port ${server.address().port}`));
process.once('SIGTERM', () => server.close());
