// node --import jiti/register bench/gpu/make_curve.ts
// Writes bench/gpu/curve.json: the CPU's losses, with which `npm run gpu` compares a card's.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openDevice } from '../../src/device/open.ts';
import { lossCurve } from './curve.ts';

// The losses do not depend on the number of threads; one thread is the most robust on a busy machine.
const losses = await lossCurve(await openDevice('cpu', { threads: 1 }), undefined, ({ length }) => {
  if (length % 20 === 0) console.log(`${length} steps`);
});
const path = fileURLToPath(new URL('./curve.json', import.meta.url));
writeFileSync(path, `${JSON.stringify({ losses: losses.map((loss) => Number(loss.toPrecision(9))) })}\n`);
