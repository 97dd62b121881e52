// Makes the figures of docs/optimal-transport.md and prints its table: the same pairs of the official notebook's mixtures, followed by
// rectified flows, c-rectified flows, and flows of optimally assigned pairs. Nothing is chosen by hand: the seed is the one written here.
//   node --import jiti/register scripts/transport_figures.ts [folder]      default docs/transport
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openDevice } from '../src/device/open.ts';
import { PlaneSession, type PlaneSettings } from '../src/plane/index.ts';
import { type Drawing, lightTheme, pathPlot, type Shape, svgFile } from '../src/run/plot/index.ts';

const out = process.argv[2] ?? fileURLToPath(new URL('../docs/transport', import.meta.url));
const [SEED, LINES, STOPS, SIZE, GAP] = [1, 60, 20, 210, 16];
const device = await openDevice('cpu', { threads: 1 });

/** Drawings in a row, as one. */
function row(drawings: readonly Drawing[], description: string): Drawing {
  const shapes = drawings.flatMap(({ shapes: own }, k) => own.map((shape) => moved(shape, k * (SIZE + GAP))));
  const width = drawings.length * (SIZE + GAP) - GAP;
  return { ...drawings[0], width, description, background: '#ffffff', shapes };
}

function moved(shape: Shape, right: number): Shape {
  if (shape.kind === 'line' || shape.kind === 'dots')
    return { ...shape, points: shape.points.map(([x, y]) => [x + right, y] as const) };
  return { ...shape, at: [shape.at[0] + right, shape.at[1]] };
}

async function finished(settings: Partial<PlaneSettings>): Promise<PlaneSession> {
  const session = new PlaneSession({ seed: SEED, ...settings }, { device });
  await session.run();
  return session;
}

/** Pairs and paths as one file, and a line of the table for each flow. */
async function show(file: string | undefined, title: string, settings: Partial<PlaneSettings>): Promise<void> {
  const session = await finished(settings);
  const { coupling, flows } = session;
  console.log(`${title}, pairs: cost ${coupling?.cost.toFixed(2)}, least ${coupling?.optimalCost.toFixed(2)}`);
  for (const { name, figures } of flows)
    console.log(
      `${title}, ${name}: straightness ${figures?.straightness.toFixed(3)}, cost ${figures?.cost.toFixed(2)}, ` +
        `excess ${figures?.coupling.excess.toFixed(3)}, crossings ${figures?.coupling.crossings}, ` +
        `energy distance ${figures?.energy[1].toFixed(3)} (1 step), ${figures?.energy[100].toFixed(3)} (100)`,
    );
  if (file !== undefined) {
    const shared = { theme: lightTheme, background: session.draw('to', 400).points, reach: 11, size: SIZE };
    const { x0, x1 } = session.couplingPairs(LINES);
    const pairs = pathPlot([Float32Array.from(x0), Float32Array.from(x1)], { ...shared, title: 'pairs' });
    const paths = flows
      .slice(0, 2)
      .map(({ name }, k) =>
        pathPlot(session.paths(k, session.starts(LINES), { stops: STOPS }).points, { ...shared, title: name }),
      );
    const description = `${title}: pairs of points, and the paths of the first two flows`;
    writeFileSync(join(out, file), svgFile(row([pairs, ...paths], description)));
  }
  session.dispose();
}

await show('random.svg', 'random pairs', { reflow: 2 });
await show('optimal.svg', 'optimally assigned pairs', { coupling: 'optimal', reflow: 1 });
await show(undefined, 'c-rectified, p = 2', { potential: true, power: 2, reflow: 2 });
await show(undefined, 'c-rectified, p = 4', { potential: true, power: 4, reflow: 2 });
await show(undefined, 'kernel', { velocity: 'kernel', reflow: 2 });
