// A plugin of TypeDoc. Constants that can be called, such as `export const exp = unary(expOp)`, are documented as functions;
// names of the engine are in the categories of docs/features.md; modules have the names that programs import, and what
// their files say first; and a page of docs/ is named by its heading. The built playground is a page of the site, to which the menu links.
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Comment, CommentTag, Context, Converter, JSX, ReflectionKind, RendererEvent } from 'typedoc';
import { groups } from './features_data.js';

/** The category of a function of the engine, by name. */
const categories = new Map(
  Object.entries(groups).flatMap(([group, rows]) =>
    rows.flatMap(({ ours, from }) => (from === undefined ? ours.split(' ').map((name) => [name, group]) : [])),
  ),
);

/** The section of the menu for each page; the others are for those who change the package. */
const sections = {
  Guides: ['playground', 'your-images', 'from-pytorch', 'from-diffusers', 'text-to-image', 'library'],
  Reference: ['commands', 'config', 'features', 'glossary', 'devices', 'gpu', 'results', 'CHANGELOG'],
};

const playground = fileURLToPath(new URL('../dist/playground/index.html', import.meta.url));

/** @param {import('typedoc').Application} app */
export function load(app) {
  if (existsSync(playground)) {
    app.renderer.on(RendererEvent.END, ({ outputDirectory }) =>
      copyFileSync(playground, join(outputDirectory, 'playground.html')),
    );
    app.renderer.hooks.on('sidebar.begin', (context) =>
      JSX.createElement(
        'a',
        { class: 'playground', href: context.relativeURL('playground.html') },
        'Open the playground',
      ),
    );
  } else app.logger.info('the site has no playground; `npm run build && npm run build:playground` builds it');
  const { getComment } = Context.prototype;
  Context.prototype.getComment = function (symbol, kind) {
    const comment = getComment.call(this, symbol, kind);
    // TypeDoc looks at this tag before it chooses a kind, and ignores it where the type cannot be called.
    if (kind === ReflectionKind.Variable) comment?.modifierTags.add('@function');
    return comment;
  };
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const variable of project.getReflectionsByKind(ReflectionKind.Variable))
      variable.comment?.removeModifier('@function');
    for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
      const { name } = module;
      const file = ['index', 'fluent'].includes(name) ? `src/${name}.ts` : `src/${name}/index.ts`;
      module.comment ??= new Comment([{ kind: 'text', text: firstComment(file) }]);
      module.name = name === 'index' ? 'rectiflow' : `rectiflow/${name}`;
      setCategory(module, 'The library');
      for (const child of name === 'index' ? module.children : []) {
        const category = categoryOf(child.name);
        for (const part of child.signatures ?? [child]) setCategory(part, category);
      }
    }
    for (const page of project.getReflectionsByKind(ReflectionKind.Document)) {
      const file = page.name.replace(/^.*\//, '');
      const [section] = Object.entries(sections).find(([, files]) => files.includes(file)) ?? ['Development'];
      page.frontmatter.category = section;
      page.name = /^# (.*)$/m.exec(page.content.map(({ text }) => text).join(''))?.[1] ?? page.name;
    }
    // TypeDoc writes the name of the project above the README.
    const [first] = project.readme;
    first.text = first.text.replace(/^# .*\n/, '');
  });
}

function setCategory(reflection, category) {
  reflection.comment ??= new Comment();
  reflection.comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: category }]));
}

/** The category of a name of the engine. The options of a function are with the function. */
function categoryOf(name) {
  if (name.endsWith('Error')) return 'Errors';
  const owner = name.replace(/Options$/, '');
  return categories.get(name) ?? categories.get(owner[0].toLowerCase() + owner.slice(1)) ?? 'Tensors and types';
}

/** The comment that a file begins with. */
function firstComment(file) {
  const lines = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8').split('\n');
  const start = lines.findIndex((line) => /^\/\/ /.test(line));
  const end = lines.findIndex((line, i) => i > start && !/^\/\/ /.test(line));
  return lines
    .slice(start, end)
    .map((line) => line.slice(3))
    .join('\n');
}
