// Text from files in messages and tables: it cannot move the cursor, reorder the text next to it, forge a line or fill
// the screen.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { describeValue } from '../../src/arguments.ts';
import { CompileError, FileError, RectiflowError, UsageError } from '../../src/errors.ts';
import { tarGzFiles } from '../../src/io/archives/tar.ts';
import {
  type ArrayFile,
  readNpy,
  readNpz,
  readPng,
  readPth,
  readSafetensors,
  writeNpz,
  writePth,
  writeSafetensors,
} from '../../src/io/index.ts';
import { findState } from '../../src/run/checkpoints/wrappers.ts';
import { findCheckpoint, loadConfig } from '../../src/run/index.ts';
import { escapeJson, escapeName, escapeText } from '../../src/text.ts';
import { readFixture } from './files.ts';

/** A clear-screen sequence, a forged line, a C1 control, DEL, a change of writing direction, a line separator. */
const evil = '\u001b[2J\nrectiflow: all good\u009b31m\u007f\u202etxt\u2066\u2028end';
const escaped = '\\x1b[2J\\x0arectiflow: all good\\x9b31m\\x7f\\u{202e}txt\\u{2066}\\u{2028}end';
const unseen = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
const hasUnseen = (text: string) => unseen.test(text.replaceAll('\n', ''));

describe('escapeText', () => {
  it('escapes invisible characters and keeps visible ones', () => {
    expect(escapeText(evil)).toBe(escaped);
    expect(escapeText('Größe 形 👩‍👧 \\x1b')).toBe('Größe 形 👩‍👧 \\x1b');
    expect(escapeText('\ud800\ufeff\0')).toBe('\\u{d800}\\u{feff}\\x00');
  });

  it('keeps the line breaks between lines, but none within a line', () => {
    expect(escapeText(['a:', '  b\nc'])).toBe('a:\n  b\\x0ac');
  });

  it('shortens a line in its middle, once', () => {
    const line = escapeText(`begin${'x'.repeat(1e6)}end`);
    expect(line).toHaveLength(999);
    expect(line).toMatch(/^beginx+…x+end$/);
    expect(escapeText(line)).toBe(line);
    expect(escapeText('\0'.repeat(1000)).length).toBeLessThanOrEqual(1000);
    expect(escapeName('n'.repeat(500))).toBe(`${'n'.repeat(199)}…`);
  });

  it("drops a library's repeated lines", () => {
    expect(escapeText('VipsJpeg: bad\nVipsJpeg: bad\nVipsJpeg: bad\nend')).toBe('VipsJpeg: bad\\x0aend');
  });

  it('writes JSON of the same value', () => {
    const json = escapeJson({ [evil]: [evil] }, 2);
    expect(hasUnseen(json)).toBe(false);
    expect(JSON.parse(json)).toEqual({ [evil]: [evil] });
  });
});

describe('errors', () => {
  it('escape their message, whatever its origin', () => {
    expect(new RectiflowError(evil).message).toBe(escaped);
    expect(new FileError(evil, evil).message).toBe(`${escaped}: ${escaped}`);
    expect(new UsageError(`--${evil}`).message).toBe(`--${escaped}`);
    expect(new FileError('a', ['b:', '  c\nd']).message).toBe('a: b:\n  c\\x0ad');
    expect(new FileError('a', 'x'.repeat(1e7)).message).toHaveLength(999);
  });

  it("keep the lines of a compiler's log", () => {
    expect(new CompileError('k.c:\n  1 | \u001b[31mx\n').message).toBe('k.c:\n  1 | \\x1b[31mx\n');
  });

  it('describe values with their content escaped', () => {
    for (const value of [evil, { [evil]: 1 }, [evil]]) {
      const text = describeValue(value);
      expect([text.includes('\n'), text.includes('\u001b')]).toEqual([false, false]);
    }
  });
});

describe('a name from', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'rectiflow-text-'));
  });

  const tensor: ArrayFile = { shape: [1], dtype: 'f32', data: new Float32Array(1) };
  const at = (name: string) => join(folder, name);
  const tar = (name: string) => {
    const head = Buffer.alloc(512);
    head.write(`${name.slice(0, 90)}\0`, 0);
    head.write('00000000007\0', 124);
    head.write('0', 156);
    head.fill(0x20, 148, 156);
    head.write(
      `${head
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    );
    return gzipSync(Buffer.concat([head, Buffer.alloc(1024)]));
  };

  const cases: Record<string, (name: string) => Promise<unknown>> = {
    'a safetensors file': async (name) => {
      const header = Buffer.from(JSON.stringify({ [name]: { dtype: name, shape: [1], data_offsets: [0, 4] } }));
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(header.length));
      writeFileSync(at('a.safetensors'), Buffer.concat([length, header, Buffer.alloc(4)]));
      await readSafetensors(at('a.safetensors'));
    },
    'a file that lacks it': async (name) => {
      await writeSafetensors(at('b.safetensors'), new Map([['x', tensor]]));
      await readSafetensors(at('b.safetensors'), [name]);
    },
    "a pickle's globals": async (name) => {
      await writePth(at('a.pth'), new Map([['aaaa', 'text']]));
      const flat = name.replaceAll('\n', '\r').replace(/[^\0-\xff]/g, '?');
      const legacy = '\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.';
      writeFileSync(at('a.pth'), Buffer.from(`${legacy}\x80\x02c${flat}\n${flat}\n.`, 'latin1'));
      await readPth(at('a.pth'));
    },
    "a state dict's names": async (name) => {
      await writePth(
        at('s.pth'),
        new Map<string, never>([
          [name, 1 as never],
          ['x', tensor as never],
        ]),
      );
      findState(at('s.pth'), await readPth(at('s.pth')), new Set(['y']));
    },
    'two state dicts': async (name) =>
      findState(
        's.pth',
        new Map([
          [name, new Map([['x', tensor]])],
          ['b', new Map([['x', tensor]])],
        ]) as never,
        new Set(),
      ),
    "a PNG's chunks": async (name) => {
      const bytes = Buffer.from(await readFixture('rgb.png'));
      bytes.write(name.slice(0, 4), 37, 'latin1');
      writeFileSync(at('a.png'), bytes);
      await readPng(at('a.png'));
    },
    'JSON keys': async (name) => {
      writeFileSync(at('c.json'), JSON.stringify({ [name]: 1, model: { [name]: name, nonlinearity: name } }));
      await loadConfig(at('c.json'));
    },
    'repeated JSON keys': async (name) => {
      writeFileSync(at('d.json'), `{${JSON.stringify(name)}: 1, ${JSON.stringify(name)}: 2}`);
      await loadConfig(at('d.json'));
    },
    "a .npz's members": async (name) => {
      const safe = name.replaceAll('/', '_');
      await writeNpz(at('a.npz'), new Map([['aaaaaaaa', tensor]]));
      const text = readFileSync(at('a.npz')).toString('latin1');
      writeFileSync(
        at('a.npz'),
        Buffer.from(text.replaceAll('aaaaaaaa.npy', `${safe.slice(0, 8).padEnd(8, '\x1b')}.bin`), 'latin1'),
      );
      await readNpz(at('a.npz'));
    },
    "a tar's members": async (name) => {
      writeFileSync(at('a.tar.gz'), tar(name));
      for await (const _ of tarGzFiles(at('a.tar.gz'), () => true, 1));
    },
    'the file system': async (name) => {
      mkdirSync(at(name.slice(0, 100)), { recursive: true });
      findCheckpoint(at(name.slice(0, 100)));
    },
    'a missing path': (name) => readNpy(at(name)),
    'a missing configuration': (name) => loadConfig(name),
  };

  it.each(Object.keys(cases))('%s is shown in one line, escaped and short', async (what) => {
    for (const name of [evil, `${evil}${'x'.repeat(50_000)}`]) {
      const error = (await cases[what](name).catch((problem) => problem)) as Error;
      expect(error, what).toBeInstanceOf(RectiflowError);
      const lines = error.message.split('\n');
      // The faults of a configuration are a list with lines of our own.
      if (what !== 'JSON keys') expect(lines, error.message).toHaveLength(1);
      for (const line of lines) {
        expect(hasUnseen(line), JSON.stringify(line)).toBe(false);
        expect(line).not.toMatch(/^rectiflow/);
        expect(line.length).toBeLessThanOrEqual(1000);
      }
    }
  });

  it('does not pass text of a file or a command line to the terminal unescaped', async () => {
    await writeSafetensors(
      at('e.safetensors'),
      new Map([
        [evil, tensor],
        ['y'.repeat(5000), tensor],
      ]),
      { [evil]: evil },
    );
    const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
    const run = (...words: string[]) =>
      promisify(execFile)(process.execPath, [bin, ...words]).catch(
        (error) => error as { stdout: string; stderr: string },
      );
    const runs = await Promise.all([
      run('inspect', at('e.safetensors')),
      run('inspect', '--json', at('e.safetensors')),
      run('train', '--config', 'digits', '--workdir', at('w'), `--config.model.${evil}`, '1'),
      run('sample', `--${evil}`),
      run(evil),
      run('sample', '--checkpoint', evil, '--out', 'x.png'),
      run('train', '--config', evil, '--workdir', at('w')),
    ]);
    for (const { stdout, stderr } of runs) {
      expect(`${stdout}${stderr}`.length).toBeGreaterThan(0);
      expect(hasUnseen(`${stdout}${stderr}`), JSON.stringify(`${stdout}${stderr}`)).toBe(false);
      expect(`${stdout}${stderr}`).not.toMatch(/^rectiflow: all good/m);
    }
    const [table, json] = runs;
    expect(table.stdout).toContain(escaped);
    expect(Math.max(...table.stdout.split('\n').map((line) => line.length))).toBeLessThan(1000);
    expect(JSON.parse(json.stdout).values).toEqual([[evil, evil]]);
  });
});
