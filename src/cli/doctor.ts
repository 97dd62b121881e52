// The command `doctor`: reports what is installed, what is missing and how to fix it.
import { openDefaultDevice } from '../device/open_default.ts';
import { UsageError } from '../errors.ts';
import { requireWritable } from '../io/atomic.ts';
import { requireFolder, writeBundle } from '../run/machine/bundle.ts';
import { examine, type Finding } from '../run/machine/doctor.ts';
import { examineRanks } from '../run/ranks/examine.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { hanging } from './columns.ts';
import { joinedRanks } from './job.ts';

const marks: Record<Finding['state'], string> = { ok: 'ok     ', note: 'note   ', missing: 'MISSING' };

/** The findings of this machine and, in a job, of its ranks. */
async function examineAll(): Promise<Finding[]> {
  const ranks = joinedRanks();
  if (!ranks) return examine();
  const own = ranks.isFirst ? await examine() : [];
  await ranks.meet();
  return [...own, ...(await examineRanks(ranks, await openDefaultDevice('cpu', {}, () => {})))];
}

export const doctorCommand: Command = {
  name: 'doctor',
  details: 'Checks devices, compilers, libraries, cache and versions.',
  overrides: 'none',
  ranks: true,
  options: {
    bundle: {
      value: 'FILE',
      alone: 'rectiflow-doctor.txt',
      help: 'also write a report for a bug report, without personal paths and names; default rectiflow-doctor.txt',
    },
    workdir: { value: 'DIR', help: 'with --bundle: include configuration and last log lines of this run or chain' },
  },
  async run(parsed) {
    const [bundle, workdir] = ['bundle', 'workdir'].map((name) => parsed.text(name));
    if (workdir !== undefined && bundle === undefined) throw new UsageError('--workdir requires --bundle');
    if (workdir !== undefined) requireFolder(workdir);
    if (bundle !== undefined) await requireWritable(bundle);
    const findings = await examineAll();
    const width = Math.max(...findings.map(({ what }) => what.length));
    for (const { what, state, detail, remedy } of findings) {
      const lines = hanging(`${marks[state]}  ${what.padEnd(width)}  `, escapeText(detail));
      if (remedy) lines.push(...hanging(`         ${' '.repeat(width)}  -> `, escapeText(remedy)));
      process.stdout.write(`${lines.join('\n')}\n`);
    }
    if (bundle !== undefined) {
      await writeBundle(bundle, findings, workdir);
      process.stdout.write(`report: ${escapeText(bundle)}; please read it before you send it\n`);
    }
    return findings.some(({ state }) => state === 'missing') ? 1 : 0;
  },
};
