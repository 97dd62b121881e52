// The logger that writes event files for TensorBoard: scalars, images, the configuration as text and as hyperparameters.
import { EventFile, encodePng } from '../../io/index.ts';
import type { Image } from '../../io/png.ts';
import { keyProperties, leafPaths } from '../config/tree.ts';
import type { Config } from '../config/types.ts';
import type { LoggerSession, RunLogger, SessionEnd } from './logger.ts';

/** Opens an event file in a folder. @param from see EventFile.open @throws FileError */
export async function openTensorBoard(folder: string, from: number): Promise<RunLogger> {
  const events = await EventFile.open(folder, from);
  let last = from;
  return {
    name: 'TensorBoard',
    async config(config: Config, session: LoggerSession) {
      await events.hyperparameters(from, hyperparameters(config));
      await events.text(from, 'config', `\`\`\`\n${JSON.stringify(config, null, 2)}\n\`\`\``);
      const { version, revision, device } = session;
      await events.text(from, 'session', `rectiflow ${version} (${revision}), step ${from}, on ${device}`);
    },
    async scalars(step: number, values: Readonly<Record<string, number>>) {
      last = step;
      await events.scalars(step, values);
    },
    async images(step: number, tag: string, image: Image) {
      const { width, height, channels } = image;
      await events.image(step, tag, { png: await encodePng(image), width, height, channels });
    },
    text: (step: number, tag: string, text: string) => events.text(step, tag, text),
    async close(end: SessionEnd) {
      // A session that was stopped is still running for TensorBoard, since it may be resumed.
      try {
        if (end !== 'stopped') await events.ended(last, end === 'done' ? 'success' : 'failure');
      } finally {
        await events.close();
      }
    },
  };
}

/** The keys that a run depends on, by their paths; lists as text. */
function hyperparameters(config: Config): Record<string, number | string | boolean> {
  const entries = leafPaths().flatMap((path): [string, number | string | boolean][] => {
    const name = path.join('.');
    const { binds, inert } = keyProperties(name) ?? {};
    if (inert || (binds === 'nothing' && name !== 'training.n_iters')) return [];
    const value = path.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], config);
    return [[name, typeof value === 'object' ? JSON.stringify(value) : (value as number | string | boolean)]];
  });
  return Object.fromEntries(entries);
}
