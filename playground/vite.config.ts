// Builds the playground into one HTML file. A page that is opened from disk may neither fetch a file nor start a worker from one, so the
// styles, the program and the worker, with the kernels in it, are inside the page.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { defineConfig, type Plugin } from 'vite';

const root = fileURLToPath(new URL('.', import.meta.url));

/** `virtual:worker` is the text of the worker: one classic script. */
function workerText(): Plugin {
  const id = '\0virtual:worker';
  return {
    name: 'worker-text',
    resolveId: (name) => (name === 'virtual:worker' ? id : undefined),
    async load(name) {
      if (name !== id) return undefined;
      const { outputFiles } = await build({
        entryPoints: [`${root}src/engine/worker.ts`],
        bundle: true,
        format: 'iife',
        platform: 'browser',
        target: 'es2022',
        minify: true,
        write: false,
        logLevel: 'error',
      });
      return `export default ${JSON.stringify(outputFiles[0].text)};`;
    },
  };
}

/** The libraries inside the page, whose licences ask to stay with them. */
const libraries = ['preact', '@preact/signals', '@preact/signals-core', 'uplot', 'gifenc'];

function licences(): string {
  const texts = libraries.map((name) => {
    const folder = `${root}../node_modules/${name}/`;
    const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one)) as string;
    return `${name}\n\n${readFileSync(folder + file, 'utf8').trim()}\n`;
  });
  return `<!--\nThis page contains rectiflow (Apache-2.0) and these libraries:\n\n${texts.join('\n').replaceAll('--', '- -')}-->\n`;
}

/** Puts the built styles and program into the page, which then is the one file of the build. */
function oneFile(): Plugin {
  return {
    name: 'one-file',
    enforce: 'post',
    generateBundle(_options, bundle) {
      const page = bundle['index.html'];
      if (page?.type !== 'asset') return;
      let html = String(page.source);
      for (const [name, part] of Object.entries(bundle)) {
        if (name === 'index.html') continue;
        const [pattern, text] =
          part.type === 'chunk'
            ? [/<script[^>]* src="[^"]*"[^>]*><\/script>/, `<script type="module">${script(part.code)}</script>`]
            : [/<link rel="stylesheet"[^>]*>/, `<style>${String(part.source)}</style>`];
        if (!pattern.test(html)) throw new Error(`the page does not name ${name}`);
        html = html.replace(pattern, () => '');
        html =
          part.type === 'chunk'
            ? html.replace('</body>', () => `${text}</body>`)
            : html.replace('</head>', () => `${text}</head>`);
        delete bundle[name];
      }
      html = html.replace('</body>', () => `${digitWeights()}</body>`);
      page.source = html + licences();
    },
  };
}

/** The weights of the digits, packed by gzip, in base64: data that the browser does not read until the digits are looked at. */
function digitWeights(): string {
  const bytes = gzipSync(readFileSync(`${root}digits/weights.safetensors`), { level: 9 });
  return `<script type="application/octet-stream" id="digit-weights">${bytes.toString('base64')}</script>`;
}

/** A program inside a page may not contain the tag that ends it. */
const script = (code: string) => code.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');

export default defineConfig({
  root,
  base: './',
  plugins: [workerText(), oneFile()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: fileURLToPath(new URL('../dist/playground', import.meta.url)),
    emptyOutDir: true,
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 1e8,
    target: 'es2022',
  },
});
