// The command `doctor`: reports what is installed, what is missing and how to fix it.
import { examine, type Finding } from '../run/machine/doctor.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';

const marks: Record<Finding['state'], string> = { ok: 'ok     ', note: 'note   ', missing: 'MISSING' };

export const doctorCommand: Command = {
  name: 'doctor',
  details: 'Checks devices, compilers, libraries, cache and versions.',
  overrides: 'none',
  options: {},
  async run() {
    const findings = await examine();
    const width = Math.max(...findings.map(({ what }) => what.length));
    for (const { what, state, detail, remedy } of findings) {
      process.stdout.write(`${marks[state]}  ${what.padEnd(width)}  ${escapeText(detail)}\n`);
      if (remedy) process.stdout.write(`         ${' '.repeat(width)}  -> ${escapeText(remedy)}\n`);
    }
    return findings.some(({ state }) => state === 'missing') ? 1 : 0;
  },
};
