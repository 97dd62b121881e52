// The worker's end of worker.ts: one JSON object a line in, one a line out, in order.
import { createInterface } from 'node:readline';

/** Answers until standard input ends. An error ends the process, and what it says is read from standard error. */
export async function answerLines(commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: command, ...request } = JSON.parse(line);
    if (!Object.hasOwn(commands, command)) throw new Error(`unknown command "${command}"`);
    process.stdout.write(`${JSON.stringify(await commands[command](request))}\n`);
  }
}
