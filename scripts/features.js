// Prints docs/features.md from features_data.js: node scripts/features.js > docs/features.md
import { fileURLToPath } from 'node:url';
import { groups } from './features_data.js';

const words = { Y: 'yes', '~': 'partly', '-': 'no' };

/** The page. */
export function featuresPage() {
  const tables = Object.entries(groups).map(([group, rows]) => {
    const lines = rows.map(({ what, ours, from, note, others }) => {
      const names = ours === '' ? `no: ${note}` : ours.replace(/\w+/g, '`$&`').replaceAll(' ', ', ');
      const place = from === undefined ? '' : ` (\`${from}\`)`;
      return `| ${[what, names + place, ...others.split(' ').map((mark) => words[mark])].join(' | ')} |`;
    });
    return `## ${group}\n\n| | rectiflow | PyTorch | jax-js | tfjs |\n|---|---|---|---|---|\n${lines.join('\n')}\n`;
  });
  return `# Functions, compared with PyTorch, jax-js and tfjs

The functions of this package, and whether PyTorch 2.13, jax-js 0.1.25 and tfjs 4.22 have them. The marks of the others were
looked up name by name: in PyTorch's documentation, in the type files of @jax-js/jax, @tensorflow/tfjs-core and
@tensorflow/tfjs-layers, and for the optimisers of jax-js in the sources of its package optax. "partly" means that some of the row
is absent, or needs several calls. \`scripts/features.js\` writes
this page. [library.md](library.md) shows how the functions are used.

${tables.join('\n')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(featuresPage());
