// The text of bench/results/kernels-static.json: one kernel per line, and one loop per line.
import type { CodeFacts } from './code_facts.ts';
import type { KernelStatistics } from './kernel_statistics.ts';

export interface StaticRecord {
  nvrtc: string;
  /** What writes the file. */
  command: string;
  builds: Record<string, Record<string, Record<string, KernelStatistics>>>;
  code: Record<string, Record<string, CodeFacts>>;
}

export function formatStatic({ nvrtc, command, builds, code }: StaticRecord): string {
  const text = JSON.stringify({ nvrtc, command, builds, code: {} }, null, 1);
  const lines = text.replace(/\{\n\s+("registers".*)\n\s+(.*)\n\s+(.*)\n\s+\}/g, '{ $1 $2 $3 }');
  const listed = Object.entries(code).map(([module, kernels]) => {
    const rows = Object.entries(kernels).map(([kernel, { loops, ...rest }]) => {
      const inner = loops.map((loop) => `\n    ${JSON.stringify(loop)}`).join(',');
      return `   ${JSON.stringify(kernel)}: ${JSON.stringify(rest).slice(0, -1)},"loops":[${inner}]}`;
    });
    return `  ${JSON.stringify(module)}: {\n${rows.join(',\n')}\n  }`;
  });
  return `${lines.replace(/"code": \{\}/, () => `"code": {\n${listed.join(',\n')}\n }`)}\n`;
}
