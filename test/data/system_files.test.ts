// Entries of a folder other than its data: system files, symbolic links, pipes. They are neither images nor pairs.
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { checkPairs, openImageFolder, openLsun, PairSet } from '../../src/data/index.ts';
import { listFiles } from '../../src/data/list_files.ts';
import { FileError } from '../../src/errors.ts';
import { storedZip } from '../../src/io/archives/zip_writer.ts';
import { readNpz } from '../../src/io/index.ts';
import { fixture, readFixture } from '../io/files.ts';
import { makePairs } from '../support/pairs.ts';

const image = fileURLToPath(new URL('../fixtures/images/0.jpg', import.meta.url));
const options = { size: 8, channels: 3 } as const;

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-system-files-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** @param names names of files: valid images, or damaged ones if they begin with "!" */
function folderOf(names: readonly string[]): string {
  const folder = temporary();
  for (const name of names) {
    const path = join(folder, name.replace('!', ''));
    mkdirSync(join(path, '..'), { recursive: true });
    if (name.startsWith('!')) writeFileSync(path, 'Mac OS X        ');
    else copyFileSync(image, path);
  }
  return folder;
}

/** The number of images of both parts, each of which must be readable. */
async function countOf(folder: string, notice: (text: string) => void = () => {}): Promise<number> {
  let count = 0;
  for (const part of ['train', 'heldOut'] as const) {
    const set = await openImageFolder(folder, { ...options, part, notice, tolerated: 0 });
    await set.load(Int32Array.from({ length: set.count }, (_, i) => i));
    count += set.count;
  }
  return count;
}

const pictures = ['0.jpg', '1.jpg', '2.jpg', 'below/3.jpg'];

it.each([
  ['a folder zipped on a Mac', ['!__MACOSX/._0.jpg', '!__MACOSX/below/._3.jpg', '!._1.jpg', '!.DS_Store']],
  ['__MACOSX in lower case from another file system', ['!__macosx/0.jpg']],
  ['notebooks', ['.ipynb_checkpoints/0-checkpoint.jpg', 'below/.ipynb_checkpoints/3-checkpoint.jpg']],
  ['thumbnails', ['.thumbnails/0.jpg', '@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg', 'below/@eaDir/3.jpg']],
  ['dustbins', ['#recycle/7.jpg', '$RECYCLE.BIN/7.jpg', '.Trash-1000/files/7.jpg', 'lost+found/7.jpg']],
  ['Windows', ['!Thumbs.db', '!desktop.ini', '!ehthumbs.db']],
  ['hidden files', ['.hidden.jpg', '!.cut-off.png']],
])('skips files of %s', async (_, names) => {
  const folder = folderOf([...pictures, ...names]);
  expect(await countOf(folder)).toBe(4);
  expect((await listFiles(folder)).sort()).toEqual(pictures);
});

it('skips them with a custom pattern too, and finds no image in a folder of nothing else', async () => {
  const folder = folderOf(['._0.jpg', '__MACOSX/1.jpg']);
  const open = openImageFolder(folder, { ...options, part: 'train', pattern: /jpg$/ });
  await expect(open).rejects.toThrow('has no file that matches /jpg$/');
});

it('reads images whose names only resemble system names', async () => {
  expect(await countOf(folderOf(['a.b.jpg', 'MACOSX/1.jpg', '__MACOSX.jpg', 'eaDir/2.jpg', 'thumbs.jpg']))).toBe(5);
});

it('accepts a hidden root', async () => {
  const folder = folderOf(['.cache/data/0.jpg', '.cache/data/1.jpg']);
  expect(await countOf(join(folder, '.cache/data'))).toBe(2);
});

it('follows links to files and folders once, and terminates on cycles', async () => {
  const elsewhere = folderOf(['a.jpg', 'deep/b.jpg']);
  const folder = folderOf(pictures);
  symlinkSync('.', join(folder, 'self'));
  symlinkSync('..', join(folder, 'below/up'));
  symlinkSync('below', join(folder, 'again'));
  symlinkSync('0.jpg', join(folder, 'same.jpg'));
  symlinkSync(elsewhere, join(folder, 'linked'));
  symlinkSync(elsewhere, join(folder, 'twice'));
  symlinkSync(folder, join(elsewhere, 'back'));
  symlinkSync(join(elsewhere, 'a.jpg'), join(folder, 'first.jpg'));
  const notices: string[] = [];
  expect((await listFiles(folder, (text) => notices.push(text))).sort()).toEqual(
    [...pictures, 'first.jpg', 'linked/deep/b.jpg'].sort(),
  );
  expect(await countOf(folder)).toBe(6);
  expect(notices).toEqual([]);
});

it('judges a link by its own name: its target may be hidden', async () => {
  const folder = folderOf(['0.jpg', '.store/1.jpg', '.store/2.jpg']);
  symlinkSync('.store', join(folder, 'shown'));
  symlinkSync('.store', join(folder, '.not'));
  expect(await countOf(folder)).toBe(3);
});

it('reports dangling links in one line', async () => {
  const folder = folderOf(pictures);
  symlinkSync('gone.jpg', join(folder, '9.jpg'));
  const notices: string[] = [];
  const notice = (text: string) => notices.push(text);
  expect(await listFiles(folder, notice)).toHaveLength(4);
  symlinkSync('circle', join(folder, 'circle'));
  symlinkSync('0.jpg/x', join(folder, 'below/x.jpg'));
  expect(await listFiles(folder, notice)).toHaveLength(4);
  expect(notices).toEqual([
    `${folder}: the symbolic link 9.jpg is dangling and is skipped`,
    `${folder}: 3 symbolic links are dangling and are skipped, the first is 9.jpg`,
  ]);
  expect(await countOf(folder)).toBe(4);
});

it('skips pipes, under their own name or through a link', { timeout: 10_000 }, async () => {
  const folder = folderOf(pictures);
  execFileSync('mkfifo', [join(folder, 'pipe.jpg')]);
  symlinkSync('pipe.jpg', join(folder, 'link.jpg'));
  symlinkSync('/dev/zero', join(folder, 'zero.jpg'));
  expect(await countOf(folder)).toBe(4);
});

it('refuses a missing root, and a root that is a file', async () => {
  await expect(listFiles('/no/such')).rejects.toThrow(FileError);
  await expect(listFiles(image)).rejects.toThrow('is a file, not a folder');
});

it('silently skips system folders among pairs, and follows links once', async () => {
  const root = await makePairs({ layout: 'official' });
  const elsewhere = await makePairs({ layout: 'official', noise: { law: 'normal', seed: 8, stream: 2, scale: 1 } });
  for (const name of ['__MACOSX', '.ipynb_checkpoints', '@eaDir'])
    cpSync(join(root, '7'), join(root, name), { recursive: true });
  symlinkSync(join(elsewhere, '7'), join(root, '8'));
  symlinkSync('7', join(root, 'again'));
  symlinkSync('gone', join(root, 'broken'));
  const notices: string[] = [];
  const set = await PairSet.open(root, undefined, (text) => notices.push(text));
  onTestFinished(() => set.close());
  expect(set.folders.map(({ path }) => path)).toEqual([join(root, '7'), join(root, '8')]);
  expect(notices).toEqual([`${root}: the symbolic link broken is dangling and is skipped`]);
  const findings = await checkPairs(root);
  expect(findings.filter(({ what }) => /^folder|links/.test(what)).map(({ what }) => what)).toEqual([
    'folder 7',
    'folder 8',
    'links',
  ]);
});

it('lists only real databases as LSUN categories', async () => {
  const root = temporary();
  for (const name of ['tower_val_lmdb', '._bridge_train_lmdb', '.data.mdb']) mkdirSync(join(root, name));
  await expect(openLsun(root, { ...options, part: 'train' })).rejects.toThrow('it has the categories tower');
  writeFileSync(join(root, '._data.mdb'), 'Mac OS X        ');
  await expect(openLsun(root, { ...options, part: 'train' })).rejects.toThrow('it has the categories tower');
});

it('reads an .npz archive that was repacked on a Mac', async () => {
  const array = await readFixture('f32.npy');
  const path = join(temporary(), 'a.npz');
  const junk = new Uint8Array(Buffer.from('Mac OS X'));
  const entries = [
    { name: '__MACOSX/._mu.npy', bytes: junk },
    { name: '.DS_Store', bytes: junk },
    { name: 'mu.npy', bytes: array },
    { name: '.hidden.npy', bytes: array },
  ];
  writeFileSync(path, Buffer.concat([...storedZip(entries)]));
  expect([...(await readNpz(path)).keys()]).toEqual(['mu', '.hidden']);
  expect(readFileSync(fixture('f32.npy')).length).toBe(array.length);
});
