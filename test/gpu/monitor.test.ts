// The monitor of the card's clock on a machine without nvidia-smi.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const path = fileURLToPath(new URL('../../bench/gpu/monitor.ts', import.meta.url));

test('ends no process if it is closed before the system says that nvidia-smi is absent', async () => {
  const program = `
    import { createJiti } from 'jiti';
    const { CardMonitor } = await createJiti(process.cwd(), { fsCache: false }).import(${JSON.stringify(path)});
    const monitor = new CardMonitor('0');
    monitor.close();
    setTimeout(() => console.log(monitor.absent), 10);`;
  const args = ['--input-type=module', '-e', program];
  // A process group of its own, which a fault would end.
  const options = {
    detached: true,
    env: { ...process.env, PATH: '/nowhere' },
    stdio: ['ignore', 'pipe', 'inherit'],
  } as const;
  const child = spawn(process.execPath, args, options);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
  const ended = await new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal })));
  expect(ended).toEqual({ code: 0, signal: null });
  expect(output).toBe('nvidia-smi is not installed\n');
});
