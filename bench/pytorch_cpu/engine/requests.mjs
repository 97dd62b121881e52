// The process that worker.ts starts: it reads one JSON object per line and answers each with one line, in order.
import { createInterface } from 'node:readline';

/** Answers requests until standard input ends. An error ends the process with its message on standard error. */
export async function answerLines(commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: command, ...request } = JSON.parse(line);
    if (!Object.hasOwn(commands, command)) throw new Error(`unknown command "${command}"`);
    process.stdout.write(`${JSON.stringify(await commands[command](request))}\n`);
  }
}
