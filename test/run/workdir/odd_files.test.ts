// Odd files where a run expects its own: pipes, devices, folders, circular links, endless files. Every reader and
// writer refuses them immediately, and long logs are read in little memory.
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StepLog } from '../../../src/run/workdir/log.ts';
import { numberedFiles } from '../../../src/run/workdir/stage_folder.ts';
import { WorkDirectory } from '../../../src/run/workdir/workdir.ts';
import { full } from '../../support/devices.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-odd-'));
afterAll(() => rmSync(root, { recursive: true }));
const dist = (name: string) => JSON.stringify(new URL(`../../../dist/${name}`, import.meta.url).href);

/** In a separate process, because one that waits for a pipe would block the tests. */
function inProcess(program: string, ...words: string[]) {
  return spawnSync(process.execPath, ['--input-type=module', '-e', program, ...words], {
    encoding: 'utf8',
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
}

/** Paths of the odd files. */
const odd: Record<string, string> = {};
const linux = process.platform === 'linux';
beforeAll(() => {
  if (!linux) return;
  for (const name of ['pipe', 'zero', 'full', 'circle', 'folder', 'below'])
    odd[name] = name === 'below' ? '/dev/null/x' : join(root, name);
  spawnSync('mkfifo', [odd.pipe]);
  symlinkSync('/dev/zero', odd.zero);
  symlinkSync('/dev/full', odd.full);
  symlinkSync(odd.circle, odd.circle);
  mkdirSync(odd.folder);
});

describe.runIf(linux)('odd files', () => {
  /**
   * Every function that opens a file in a work directory, in a store of pairs, or one that a key or a variable names.
   */
  const calls: Record<string, string> = {
    readLog: '(path) => readLog(path)',
    'StepLog.open': '(path) => StepLog.open(path, 3)',
    appendText: '(path) => appendText(path, "x")',
    readWhole: '(path) => readWhole(path)',
    'NpyRows.open': '(path) => NpyRows.open(path)',
    readNpz: '(path) => readNpz(path)',
    readPng: '(path) => readPng(path)',
    readPth: '(path) => readPth(path)',
    readSafetensors: '(path) => readSafetensors(path)',
    loadCheckpoint: '(path) => loadCheckpoint(path)',
    sha256OfFile: '(path) => sha256OfFile(path)',
    readTuning: '(path) => readTuning(path)',
    tarGzFiles: '(path) => tarGzFiles(path, () => true, 1e6).next()',
    writeFileAtomic: '(path) => writeFileAtomic(path, [])',
    readManifest: '(path) => readManifest(store(path, "manifest.json"))',
    readJournal: '(path) => readJournal(store(path, "progress.jsonl"))',
    lockFolder: '(path) => lockFolder(store(path, "lock"))',
    'loadConfig of .json': '(path) => loadConfig(join(store(path, "c.json"), "c.json"))',
    'loadConfig of .js': '(path) => loadConfig(join(store(path, "c.js"), "c.js"))',
  };
  const program = `
    import { mkdtempSync, symlinkSync } from 'node:fs';
    import { join } from 'node:path';
    import { appendText, readWhole } from ${dist('io/file.js')};
    import { NpyRows, readNpz, readPng, readPth, readSafetensors, writeFileAtomic } from ${dist('io/index.js')};
    import { tarGzFiles } from ${dist('io/archives/tar.js')};
    import { readJournal, readManifest } from ${dist('data/pairs/manifest.js')};
    import { loadCheckpoint, loadConfig } from ${dist('run/index.js')};
    import { readTuning } from ${dist('run/machine/tuning.js')};
    import { sha256OfFile } from ${dist('io/file.js')};
    import { lockFolder } from ${dist('run/workdir/lock.js')};
    import { readLog, StepLog } from ${dist('run/workdir/log.js')};
    const [root, text] = process.argv.slice(1);
    /** A folder that contains the odd file under that name. */
    const store = (path, name) => {
      const folder = mkdtempSync(join(root, 'store-'));
      symlinkSync(path, join(folder, name));
      return folder;
    };
    const calls = { ${Object.entries(calls).map(([name, call]) => `${JSON.stringify(name)}: ${call}`)} };
    const outcomes = [];
    for (const [kind, path] of Object.entries(JSON.parse(text)))
      for (const [name, call] of Object.entries(calls))
        outcomes.push([name, kind, await Promise.resolve().then(() => call(path)).then(() => 'no error', (error) => error.name + ' ' + error.message)]);
    console.log(JSON.stringify(outcomes));
    process.exit(0);`;

  it('are refused immediately, with one line that names them', () => {
    const { stdout, stderr, signal } = inProcess(program, root, JSON.stringify(odd));
    expect([signal, stderr]).toEqual([null, '']);
    const outcomes = JSON.parse(stdout) as [string, string, string][];
    expect(outcomes).toHaveLength(Object.keys(calls).length * Object.keys(odd).length);
    const wrong = outcomes.filter(([, , outcome]) => !/^FileError \S+: [^\n]{5,150}$/.test(outcome));
    expect(wrong).toEqual([]);
  });

  it('in a work directory end the command, which also reacts to signals', () => {
    const bin = fileURLToPath(new URL('../../../bin/rectiflow.js', import.meta.url));
    const small = ['--config', 'digits', '--threads', '1', '--config.model.nf=8', '--config.model.num_res_blocks=1'];
    const train = (workdir: string) =>
      spawnSync(process.execPath, [bin, 'train', ...small, '--config.training.n_iters=1', '--workdir', workdir], {
        encoding: 'utf8',
        timeout: 60_000,
        killSignal: 'SIGKILL',
      });
    const noFile = 'is not a regular file';
    const noFolder = 'cannot make the folder (EEXIST): something else has that name';
    for (const [name, says] of [
      ['lock', noFile],
      ['log.jsonl', noFile],
      ['stdout.txt', noFile],
      // Snapshots are written there much later.
      ['samples', noFolder],
      ['samples/iter_50000', noFolder],
      ['eval', noFolder],
      ['eval/ckpt_1', noFolder],
    ]) {
      const workdir = join(root, `run-${name.replace('/', '-')}`);
      mkdirSync(dirname(join(workdir, name)), { recursive: true });
      symlinkSync(odd.pipe, join(workdir, name));
      const { status, stderr } = train(workdir);
      const lines = stderr.split('\n').filter((line) => line.startsWith('rectiflow: '));
      expect([name, status, lines]).toEqual([name, 1, [expect.stringContaining(`${workdir}/${name}: ${says}`)]]);
      expect(stderr).not.toMatch(/^\s+at /m);
      expect(stderr).not.toMatch(/step 1/);
    }
  });
});

describe.runIf(linux)('a work directory', () => {
  const places = [
    '/proc/x',
    '/proc/self/x',
    '/sys/x',
    '/dev/null',
    '/dev/null/x',
    '/dev/stdin',
    'circle',
    'nowhere',
    'file',
  ];

  it('at an impossible path is refused immediately', () => {
    symlinkSync(join(root, 'gone'), join(root, 'nowhere'));
    writeFileSync(join(root, 'file'), '');
    const { stdout, signal } = inProcess(
      `import { makeFolder } from ${dist('io/file.js')};
       for (const path of JSON.parse(process.argv[1]))
         try { makeFolder(path); console.log('made', path); } catch (error) { console.log(error.name, error.message); }`,
      JSON.stringify([
        ...places.map((place) => (place.startsWith('/') ? place : join(root, place))),
        '',
        'a'.repeat(5000),
        'a\0b',
      ]),
    );
    expect(signal).toBeNull();
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(places.length + 3);
    expect(
      lines.filter((line) => !/^(FileError|ArgumentError) .*(cannot make the folder|expected path to be)/.test(line)),
    ).toEqual([]);
  });

  const flow = { name: 'train' };
  const open = (path: string) => WorkDirectory.open(path, flow, 'sibling', () => {});

  it('whose checkpoints folder is a link loses only its own temporary files there', async () => {
    const [workdir, elsewhere] = ['linked', 'elsewhere'].map((name) => join(root, name));
    for (const folder of [workdir, elsewhere]) mkdirSync(folder);
    symlinkSync(elsewhere, join(workdir, 'checkpoints'));
    const kept = [
      '.thesis.pdf.0123456789ab.tmp',
      '.state_3.safetensors.0123456789ab.tmp',
      '.checkpoint_3.safetensors.tmp',
      'a',
    ];
    const own = '.checkpoint_3.safetensors.0123456789ab.tmp';
    for (const name of [...kept, own]) writeFileSync(join(elsewhere, name), '');
    // Has such a name, but is not a file.
    mkdirSync(join(elsewhere, '.checkpoint_4.safetensors.0123456789ab.tmp'));
    await (await open(workdir)).close();
    expect(readdirSync(elsewhere).sort()).toEqual([...kept, '.checkpoint_4.safetensors.0123456789ab.tmp'].sort());
  });

  it('counts only steps in file names that this program writes', async () => {
    const folder = join(root, 'numbers');
    mkdirSync(folder);
    for (const step of ['7', '12', '007', '99999999999999999999999', '9007199254740993', '1e3', '-1'])
      writeFileSync(join(folder, `state_${step}.safetensors`), '');
    expect(await numberedFiles(folder, 'state')).toEqual([7, 12]);
  });
});

describe('a log', () => {
  const line = (step: number) => `{"step":${step},"loss":${step / 8},"lr":0.001}\n`;

  /** Writes steps 0 to 4, then the given text, then steps 5 to 9. */
  function write(name: string, between: (file: number) => void): string {
    const path = join(root, name);
    const file = openSync(path, 'w');
    for (let step = 0; step < 5; step++) writeSync(file, line(step));
    between(file);
    for (let step = 5; step < 10; step++) writeSync(file, line(step), statSync(path).size);
    closeSync(file);
    return path;
  }

  function expectRead(path: string, said: string): void {
    // The file would not fit into the heap.
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [
        '--max-old-space-size=256',
        '--input-type=module',
        '-e',
        `import { readLog, StepLog } from ${dist('run/workdir/log.js')};
         const log = await StepLog.open(process.argv[1], 8);
         await log.write({ step: 8, loss: 7 });
         await log.close();
         const steps = await readLog(process.argv[1]);
         console.log(steps.length, JSON.stringify(steps.slice(0, 3)), JSON.stringify(steps.at(-1)));
         if (process.resourceUsage().maxRSS > 600_000) console.log(process.resourceUsage().maxRSS);`,
        path,
      ],
      { encoding: 'utf8' },
    );
    expect([stderr, stdout]).toEqual(['', `${said}\n`]);
  }

  it('with a line of 600 MB is read', { timeout: 120_000 }, () => {
    const path = write('long', (file) => {
      // Zeros that take no space on disk.
      ftruncateSync(file, 600e6);
      writeSync(file, '\n', 600e6);
    });
    expectRead(
      path,
      `9 [${[0, 1, 2].map((step) => line(step).trim().replace(',"lr":0.001', ''))}] {"step":8,"loss":7}`,
    );
    expect(statSync(path).size).toBeLessThan(1000);
  });

  it.runIf(full)('of 600 MB in short lines is read, and every 32nd line kept', { timeout: 300_000 }, () => {
    const many = Buffer.from(line(5).repeat(30_000));
    const path = write('many', (file) => {
      for (let blocks = 0; blocks < 600; blocks++) writeSync(file, many);
    });
    // 5 + 18,000,000 + 3 + 1 lines.
    expectRead(
      path,
      '562501 [{"step":0,"loss":0},{"step":5,"loss":0.625},{"step":5,"loss":0.625}] {"step":5,"loss":0.625}',
    );
  });

  it('is cut at whole lines, wherever the pieces of the file end', async () => {
    const path = join(root, 'cut');
    const lines = Array.from({ length: 50_000 }, (_, step) => line(step));
    writeFileSync(path, `${lines.join('')}{"step":50000,"lo`);
    await (await StepLog.open(path, 49_990)).close();
    expect(readFileSync(path, 'utf8')).toBe(lines.slice(0, 49_990).join(''));
  });

  it('that another program removed or replaced is reported once, and the next lines go to the new file', async () => {
    const path = join(root, 'moved');
    const said: string[] = [];
    const log = await StepLog.open(path, 0, (text) => said.push(text));
    await log.write({ step: 0, loss: 1 });
    await log.sync();
    expect(said).toEqual([]);
    rmSync(path);
    for (const step of [1, 2]) {
      await log.write({ step, loss: step });
      await log.sync();
    }
    expect(said).toEqual([`${path} was removed or replaced; the steps so far are no longer in it`]);
    expect(readFileSync(path, 'utf8')).toBe('{"step":2,"loss":2}\n');
    writeFileSync(`${path}-new`, 'x');
    renameSync(`${path}-new`, path);
    await log.sync();
    await log.write({ step: 3, loss: 3 });
    await log.close();
    expect(said).toHaveLength(2);
    expect(readFileSync(path, 'utf8')).toBe('x{"step":3,"loss":3}\n');
  });

  it('becomes a new file when a run resumes, so that a process with the old one open adds nothing', async () => {
    const path = join(root, 'two');
    const before = await StepLog.open(path, 0);
    await before.write({ step: 0, loss: 1 });
    const after = await StepLog.open(path, 1);
    await before.write({ step: 1, loss: 2 });
    await after.write({ step: 1, loss: 3 });
    await before.close();
    await after.close();
    expect(readFileSync(path, 'utf8')).toBe('{"step":0,"loss":1}\n{"step":1,"loss":3}\n');
    expect(existsSync(path)).toBe(true);
  });
});
