// The built page of the playground in a real browser, from disk and as the command serves it: draw, train, reflow, the kernel against its
// golden values, links, exported files, the keyboard, small screens, and what a hostile reader gives it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode as decodePng } from 'fast-png';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaults } from '../../playground/src/model/settings.ts';
import { short } from '../../playground/src/model/short.ts';
import { openDevice } from '../../src/device/open.ts';
import { decodeSafetensors, readNpz } from '../../src/io/index.ts';
import { type FlowFigures, PlaneSession, type PlaneSettings } from '../../src/plane/index.ts';
import { exported, figureOf, linkTo, openPage, quick, startPlayground, trained } from '../support/playground.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-playground-'));
let browser: Browser;
let address: string;

beforeAll(async () => {
  ({ address, browser } = await startPlayground());
}, 120_000);

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

describe('from disk', () => {
  it('draws both clouds, trains, reflows, shows one-step arrows, and exports what it shows', async () => {
    const { page, messages } = await openPage(browser, linkTo(address, { problem: quick }));
    expect(await page.textContent('footer')).toContain('1 thread, 128-bit SIMD, memory not shared');
    await page.selectOption('select[aria-label="Shape of the target"]', 'rings');
    for (const [side, dy] of [
      ['from', 0.25],
      ['to', 0.75],
    ] as const) {
      const box = (await page.locator(`.pad.${side} .paper`).boundingBox()) as {
        x: number;
        y: number;
        width: number;
        height: number;
      };
      await page.click(`.pad.${side} .tool:nth-child(1)`);
      await page.mouse.move(box.x + 0.2 * box.width, box.y + dy * box.height);
      await page.mouse.down();
      await page.mouse.move(box.x + 0.8 * box.width, box.y + dy * box.height, { steps: 12 });
      await page.mouse.up();
      expect(await page.textContent(`.pad.${side} .count`)).toMatch(/^[\d,]+ points$/);
    }
    await page.click('button.main');
    await page.waitForSelector('#tab-1 .figure:has-text("S ")');
    await trained(page);
    expect(await page.textContent('.status')).toContain('step 300 of 300');
    await page.click('button:has-text("Reflow")');
    await trained(page);
    const [first, second] = [await figureOf(page, 'Straightness', '1'), await figureOf(page, 'Straightness', '2')];
    expect(second).toBeLessThan(first);
    await page.check('text=One-step arrows');
    expect(await page.textContent('.legend:has(.error)')).toContain('what it misses');
    const plane = (await page.locator('#plane').boundingBox()) as { x: number; y: number; width: number };
    await page.mouse.click(plane.x + 0.5 * plane.width, plane.y + 0.3 * plane.width);
    await page.waitForSelector('.caption:has-text("of the target comes from")');
    await page.check('text=Network less kernel');

    const json = JSON.parse((await exported(page, 'JSON')).bytes.toString());
    expect(json.paths).toMatchObject({ flow: 2, velocity: 'mlp', solver: 'euler' });
    expect(json.paths.points).toHaveLength(101);
    expect(json.numbers.straightness).toBeCloseTo(second, 2);
    const png = decodePng((await exported(page, 'PNG')).bytes);
    expect([png.width, png.height]).toEqual([1200, 1200]);
    expect(new Set(png.data).size).toBeGreaterThan(50);
    const svg = (await exported(page, 'SVG')).bytes.toString();
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" width="600"/);
    expect(svg.match(/<path /g)?.length).toBeGreaterThan(10);
    expect(svg).not.toMatch(/NaN|undefined/);
    const weights = await exported(page, 'safetensors');
    expect(weights.file).toBe('rectiflow_2.safetensors');
    const { tensors, metadata } = decodeSafetensors(weights.bytes, weights.file);
    expect([...tensors].map(([name, { shape }]) => [name, [...shape]])).toEqual([
      ...[
        ['layers.0.weight', [32, 3]],
        ['layers.0.bias', [32]],
        ['layers.1.weight', [32, 32]],
        ['layers.1.bias', [32]],
      ],
      ...[
        ['layers.2.weight', [32, 32]],
        ['layers.2.bias', [32]],
        ['layers.3.weight', [2, 32]],
        ['layers.3.bias', [2]],
      ],
    ]);
    expect(Number(metadata.unit)).toBeGreaterThan(1);
    const gif = (await exported(page, 'GIF')).bytes;
    expect(gif.subarray(0, 6).toString('latin1')).toBe('GIF89a');
    expect([gif.readUInt16LE(6), gif.readUInt16LE(8)]).toEqual([420, 420]);
    const webm = (await exported(page, 'WebM')).bytes;
    expect(webm.readUInt32BE(0)).toBe(0x1a45dfa3);
    await page.click('button:has-text("Distil")');
    await page.waitForSelector('#tab-4[aria-selected="true"]');
    await trained(page);
    expect(await figureOf(page, 'Error, N = 1', 'distilled')).toBeLessThan(await figureOf(page, 'Error, N = 1', '1'));
    expect(messages).toEqual([]);
    await page.close();
  }, 120_000);

  it('the program that it exports computes the numbers of the page', async () => {
    const { page } = await openPage(
      browser,
      linkTo(address, { problem: { ...quick, steps: 100, to: { preset: 'two_moons' } } }),
    );
    await page.click('button.main');
    await page.waitForSelector('[data-measure="Straightness 1"]');
    await trained(page);
    const numbers = JSON.parse((await exported(page, 'JSON')).bytes.toString()).numbers;
    const { file, bytes } = await exported(page, 'JavaScript');
    expect(file).toBe('flow.mjs');
    await page.close();
    // The program imports the package by its name, so it runs in its folder.
    const child = spawn(process.execPath, ['--input-type=module', '-e', bytes.toString()], {
      cwd: root,
      timeout: 45_000,
    });
    let text = '';
    child.stdout.on('data', (part) => {
      text += part;
    });
    expect((await once(child, 'close'))[0]).toBe(0);
    const straightness = Number(/straightness ([\d.e-]+)/.exec(text)?.[1]);
    expect(straightness).toBe(numbers.straightness);
    expect(Number(/cost ([\d.e-]+)/.exec(text)?.[1])).toBe(numbers.cost);
  }, 60_000);

  it('the kernel velocity gives the golden paths for pairs that are pasted', async () => {
    const golden = await readNpz(join(root, 'test/golden/toy/nonparametric.npz'));
    const values = (name: string) => golden.get(name)?.data as Float64Array;
    const listOf = (points: Float64Array) =>
      Array.from({ length: points.length / 2 }, (_, i) => `${points[2 * i]}, ${points[2 * i + 1]}`).join('\n');
    const { page } = await openPage(browser, address);
    for (const [side, name] of [
      ['from', 'x0'],
      ['to', 'x1'],
    ]) {
      await page.click(`.pad.${side} .tool:nth-child(3)`);
      await page.fill(`.pad.${side} textarea`, listOf(values(name)));
      await page.click(`.pad.${side} button:has-text("Use points")`);
      await page.waitForSelector(`.pad.${side} .count:has-text("600 points")`);
    }
    await page.selectOption('.choice:has-text("Coupling") select', 'listed');
    await page.selectOption('.choice:has-text("Velocity") select', 'kernel');
    for (const flow of [1, 2, 3]) {
      await page.click(`#tab-${flow}`);
      await page.waitForSelector(`[data-measure="Straightness ${flow}"]`, { timeout: 30_000 });
      const { paths } = JSON.parse((await exported(page, 'JSON')).bytes.toString()) as {
        paths: { points: number[][][] };
      };
      // [5, 200, 2]: steps 0, 1, 50, 99 and 100.
      const expected = values(`path_${flow}`);
      for (const [k, step] of [0, 1, 50, 99, 100].entries())
        for (let i = 0; i < 200; i++)
          for (const axis of [0, 1])
            expect(Math.abs(paths.points[step][i][axis] - expected[(k * 200 + i) * 2 + axis])).toBeLessThan(1e-4);
    }
    await page.close();
  }, 60_000);

  it('a link that is opened in a new page gives the same picture', async () => {
    const points = Float32Array.from({ length: 120 }, (_, i) => 8 * Math.cos(i * i));
    const { page } = await openPage(
      browser,
      linkTo(address, {
        problem: { from: { points }, to: { preset: 's_curve' }, seed: 3 },
        view: { velocity: 'kernel', bandwidth: 0.7, steps: 20 },
      }),
    );
    await page.waitForSelector('[data-measure="Straightness 3"]', { timeout: 30_000 });
    await page.click('header button:has-text("Link")');
    await page.waitForSelector('.notice:has-text("link")');
    const link = page.url();
    expect(link).toContain('#v1.');
    const again = await openPage(browser, link);
    await again.page.waitForSelector('[data-measure="Straightness 3"]', { timeout: 30_000 });
    const [a, b] = [await exported(page, 'PNG'), await exported(again.page, 'PNG')];
    expect(a.bytes.equals(b.bytes)).toBe(true);
    await page.close();
    await again.page.close();
  }, 60_000);

  it('is worked by the keyboard alone', async () => {
    const { page, messages } = await openPage(browser, linkTo(address, { problem: { ...quick, steps: 100 } }));
    const press = (...keys: string[]) =>
      keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
    /** Moves the focus by Tab until this text describes it. */
    const reach = async (pattern: RegExp) => {
      for (let i = 0; i < 80; i++) {
        await press('Tab');
        const name = await page.evaluate(
          '(document.activeElement.getAttribute("aria-label") ?? "") + document.activeElement.textContent',
        );
        if (pattern.test(name as string)) return;
      }
      throw new Error(`the focus never reached ${pattern}`);
    };
    await reach(/Canvas of the source/);
    await press('ArrowLeft', 'ArrowLeft', 'Space', 'Shift+ArrowUp', 'Space');
    expect(await page.textContent('.pad.from .count')).toBe('1,514 points');
    await reach(/Canvas of the target/);
    await press('Space');
    await page.waitForSelector('button.main:enabled');
    await reach(/^ ?Train/);
    await press('Enter');
    await page.waitForSelector('[data-measure="Straightness 1"]');
    await trained(page);
    await reach(/^1-RF/);
    await press('ArrowLeft');
    await page.waitForSelector('#tab-0[aria-selected="true"]');
    expect(await page.evaluate('document.activeElement.id')).toBe('tab-0');
    expect(messages).toEqual([]);
    await page.close();
  }, 60_000);

  it.each(['light', 'dark'] as const)(
    'axe finds no serious fault, %s, with the tour, on a wide and a small screen',
    async (colorScheme) => {
      const { page } = await openPage(browser, linkTo(address, { view: { arrows: true } }), { colorScheme });
      await page.addScriptTag({ path: createRequire(import.meta.url).resolve('axe-core/axe.min.js') });
      await page.click('header button:has-text("Tour")');
      for (const width of [1280, 360]) {
        await page.setViewportSize({ width, height: 800 });
        const faults = (await page.evaluate(`axe.run().then(({ violations }) =>
        violations.filter(({ impact }) => ['serious', 'critical'].includes(impact)).map(({ id, nodes }) => id + ' ' + nodes.map(({ html }) => html.slice(0, 90))))`)) as string[];
        expect(faults).toEqual([]);
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
      }
      await page.close();
    },
    60_000,
  );

  it('refuses links, lists and settings that it cannot read, and works on', async () => {
    const good = linkTo(address, {}).split('#')[1];
    const sentences: [string, string][] = [
      [good.slice(0, -20), 'cut or edited'],
      [good.replace('v1.', 'v9.'), 'another version'],
      ['%00<script>alert(1)</script>', 'does not hold a playground'],
      [`v1.${'A'.repeat(300_000)}.0`, 'cut or edited'],
    ];
    for (const [fragment, sentence] of sentences) {
      const { page, messages } = await openPage(browser, `${address}#${fragment}`);
      expect(await page.textContent('.notice')).toContain(sentence);
      expect(messages).toEqual([]);
      await page.close();
    }
    const { page } = await openPage(browser, address);
    await page.click('.pad.from .tool:nth-child(3)');
    await page.fill('.pad.from textarea', '1, 2\nthree, 4');
    await page.click('.pad.from button:has-text("Use points")');
    expect(await page.textContent('.pad.from .fault')).toContain('Line 2 should hold two numbers');
    await page.locator('.pad.from textarea').evaluate((area) => {
      const lines = Array.from({ length: 100_000 }, (_, i) => `${i % 10}, ${i % 7}`);
      (area as unknown as { value: string }).value = lines.join('\n');
    });
    await page.click('.pad.from button:has-text("Use points")');
    expect(await page.textContent('.notice')).toContain('100,000 points; 10,000 of them');
    expect(await page.textContent('.pad.from .count')).toBe('10,000 points');
    await page.selectOption('.choice:has-text("Coupling") select', 'listed');
    await page.waitForSelector('.notice:has-text("two lists of points that are equally long")');
    await page.selectOption('.choice:has-text("Coupling") select', 'random');
    await page.waitForSelector('button.main:enabled');
    // A worker that ends is replaced by Reset.
    await page.workers()[0].evaluate('setTimeout(() => { throw new Error("gone"); })');
    await page.waitForSelector('.notice:has-text("The worker that computes was lost")');
    await page.click('button[aria-label="Reset the training"]');
    await page.click('button.main:enabled');
    await page.waitForSelector('.status:has-text("steps/s")');
    await page.close();
  }, 60_000);
});

describe('a browser', () => {
  it('without WebAssembly, without SIMD, or without modules says so', async () => {
    const page = await browser.newPage();
    await page.addInitScript('delete globalThis.WebAssembly');
    await page.goto(address);
    await page.waitForSelector('.notice:has-text("This browser has no WebAssembly or no workers")');
    // The page itself still answers.
    await page.click('button:has-text("Tour")');
    await page.waitForSelector('.tour');
    await page.close();
    const old = await browser.newPage();
    // The worker's text is in a Blob: this one cannot compile SIMD.
    await old.addInitScript(`const Whole = Blob;
      globalThis.Blob = class extends Whole {
        constructor(parts, options) {
          super(['WebAssembly.compile = () => Promise.reject(new Error("no SIMD"));', ...parts], options);
        }
      };`);
    await old.goto(address);
    await old.waitForSelector(
      '.notice:has-text("this browser cannot compile the kernels; they need SIMD in WebAssembly: no SIMD")',
    );
    expect(await old.textContent('footer')).toContain('The engine did not open.');
    expect(await old.isDisabled('button.main')).toBe(true);
    const told = await old.evaluate(
      `(0, eval)(document.querySelector('script[nomodule]').textContent); document.getElementById('app').textContent`,
    );
    expect(told).toContain('This browser does not know modules of JavaScript');
    await old.close();
  }, 60_000);
});

describe('the command playground', () => {
  it('serves the page, isolated, to this machine, until Ctrl-C', async () => {
    const child = spawn(process.execPath, ['bin/rectiflow.js', 'playground', '--port', '0'], { cwd: root });
    let text = '';
    let said = '';
    child.stderr.on('data', (part) => {
      said += part;
    });
    const ended = once(child, 'close');
    try {
      for await (const part of child.stdout) {
        text += part;
        if (text.includes('\n')) break;
      }
      const [url] = /http:\/\/127\.0\.0\.1:\d+\//.exec(text) as RegExpExecArray;
      const { page, messages } = await openPage(
        browser,
        `${url}#${linkTo(address, { problem: { ...quick, steps: 100 } }).split('#')[1]}`,
        { cores: 3 },
      );
      expect(await page.evaluate('crossOriginIsolated')).toBe(true);
      const footer = await page.textContent('footer');
      expect(footer).toContain('WebAssembly, 2 threads, 128-bit SIMD.');
      expect(footer).toContain('all of the 3 cores but one');
      await page.click('button.main');
      await page.waitForSelector('[data-measure="Straightness 1"]');
      await trained(page);
      // The numbers on Node, on one thread.
      const shown = JSON.parse((await exported(page, 'JSON')).bytes.toString()).numbers;
      const { from: _from, to: _to, noise: _noise, ...problem } = { ...defaults.problem, ...quick, steps: 100 };
      const session = new PlaneSession(
        { ...(problem as Partial<PlaneSettings>), reflow: 0 },
        { device: await openDevice('wasm', { threads: 1 }) },
      );
      await session.run();
      const { straightness, cost, energy } = session.flows[0].figures as FlowFigures;
      session.dispose();
      expect([shown.straightness, shown.cost]).toEqual([straightness, cost]);
      expect(shown.byStepCount).toEqual(
        Object.entries(energy).map(([steps, distance]) => ({ steps: Number(steps), distance })),
      );
      expect(await figureOf(page, 'Straightness', '1')).toBe(Number(short(straightness)));
      expect(messages).toEqual([]);
      await page.close();
      expect((await fetch(`${url}other`)).status).toBe(404);
      expect((await fetch(url, { method: 'POST' })).status).toBe(405);
      const { headers } = await fetch(url, { method: 'HEAD' });
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
    } finally {
      child.kill('SIGINT');
    }
    expect([0, 130]).toContain((await ended)[0]);
    expect(said).toBe('stopping within about a second; interrupt again to stop now\n');
  }, 240_000);

  it('refuses a port that is in use', async () => {
    const { createServer } = await import('node:http');
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const child = spawn(process.execPath, ['bin/rectiflow.js', 'playground', '--port', String(port)], { cwd: root });
    let text = '';
    child.stderr.on('data', (part) => {
      text += part;
    });
    expect((await once(child, 'close'))[0]).toBe(1);
    expect(text).toBe(
      `rectiflow: cannot listen on 127.0.0.1 port ${port} (EADDRINUSE); choose another --port, or 0 for any\n`,
    );
    server.close();
  }, 30_000);
});
