// What `doctor --bundle` replaces: paths of a person, names of user and machine, secrets; and what it keeps.
import { expect, it } from 'vitest';
import { type Identity, redact } from '../../../src/run/machine/redact.ts';

const alice: Identity = {
  folders: [
    ['/data/runs/digits', '<workdir>'],
    ['/home/alice/work/node_modules/rectiflow', '<package>'],
    ['/home/alice/work', '<folder>'],
    // The folder that holds it is replaced after it.
    ['/home', '<homes>'],
    ['/home/alice', '~'],
    ['C:\\Users\\alice', '~'],
  ],
  users: ['alice', 'root'],
  hosts: ['gpu7.lab.example', 'gpu7', 'localhost'],
};

it.each([
  ['~/.cache/rectiflow: 12 kernels', '/home/alice/.cache/rectiflow: 12 kernels'],
  ['at <package>/dist/index.js:3:9', 'at /home/alice/work/node_modules/rectiflow/dist/index.js:3:9'],
  ['at file://<package>/dist/index.js:3:9', 'at file:///home/alice/work/node_modules/rectiflow/dist/index.js:3:9'],
  ['RECTIFLOW_TUNING=<folder>/tuning.json', 'RECTIFLOW_TUNING=/home/alice/work/tuning.json'],
  ['"root_path": "<path>/cifar 10"', '"root_path": "/mnt/Alice Smith/cifar 10"'],
  ['"~\\\\runs"', '"C:\\\\Users\\\\alice\\\\runs"'],
  ['<homes>/bob/me', '/home/bob/me'],
  ['<path>/me', '/homes/alice2/me'],
  ['CC=gcc -I<path>/include -L<path>/lib', 'CC=gcc -I/srv/company/include -L/srv/company/lib'],
  ['cannot open <path>/x.npz: ENOENT', 'cannot open D:\\secret\\x.npz: ENOENT'],
  ['<user>@<host>, <host>, by <user>', 'alice@gpu7.lab.example, GPU7, by Alice'],
  ['data/<user>_faces', 'data/alice_faces'],
  ['<workdir>/log.jsonl', '/data/runs/digits/log.jsonl'],
  ['https://<secret>@registry.example/x', 'https://bob:hunter2@registry.example/x'],
  ['API_KEY=<secret> password: <secret>', 'API_KEY=abc123 password: hunter2'],
  ['"token": "<secret>", "lr": 1', '"token": "abc.def", "lr": 1'],
  ['{"password": "<secret>"}', '{"password": "my pass word"}'],
  ['Authorization: Basic <secret>', 'Authorization: Basic YWxpY2U6aHVudGVyMg=='],
  ['passphrase=<secret> secret_key=<secret> PRIVATE_KEY: <secret>', 'passphrase=open secret_key=ab PRIVATE_KEY: cd'],
  ['--password <secret> --threads 2', '--password hunter2 --threads 2'],
  ['cc -isystem<path>/inc 2><path>/log', 'cc -isystem/srv/bob/inc 2>/srv/bobs/secret/log'],
  ['<path>/x and <path>/y', '/libraries/bob/x and /usr/../srv/bob/y'],
  ['"<path>/x.png"', `"/mnt/bob's data/secret plan/x.png"`],
  ['"<path>/x.png"', String.raw`"\\server\share\bob\x.png"`],
  ['<secret> <secret>', 'ghp_0123456789abcdefghij hf_ABCDEFGHIJKLMNOP'],
  ['<long word>', '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c'],
])('%s', (expected, text) => {
  expect(redact(text, alice)).toBe(expected);
});

it.each([
  '/usr/lib/x86_64-linux-gnu/liblapack.so.3 and /opt/cuda/lib64/libnvrtc.so.13',
  'tried cc (ENOENT), gcc (ENOENT)',
  '128 x 3 / 4, 1/2, and/or, n/a, loss 0.12 / 0.13',
  '{"step": 100, "loss": 0.1234567890123456, "root_path": "cifar-10-batches-bin"}',
  'avx512_vpopcntdq avx512f localhost root',
  'https://koffi.dev/start',
  'wasm avx512 0123456789ab',
])('keeps %s', (text) => {
  expect(redact(text, alice)).toBe(text);
});

it('takes a text of a megabyte without slashes, or of slashes alone, in little time', () => {
  for (const text of ['a1'.repeat(500_000), '/'.repeat(1_000_000), '"/'.repeat(300_000), 'token'.repeat(200_000)])
    expect(redact(text, alice).length).toBeGreaterThan(0);
}, 20_000);
