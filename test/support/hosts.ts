// Hosts that are network namespaces on one machine, joined by a switch with links of a given speed. mpirun starts ranks on them
// through an agent that stands in for ssh. They share the file system, as the nodes of a cluster do.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bin } from './chain_runs.ts';
import { type Launcher, watch } from './jobs.ts';

const NETWORK = '10.77.0';

function ip(...words: string[]): void {
  const { status, stderr, error } = spawnSync('ip', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${error?.message ?? stderr}`);
}

/** Why this machine cannot have emulated hosts; undefined if it can. */
export const noHosts = (() => {
  const name = `rf${process.pid}try`;
  try {
    ip('netns', 'add', name);
    ip('netns', 'exec', name, 'unshare', '--uts', 'true');
    ip('netns', 'del', name);
    return undefined;
  } catch (error) {
    return `network namespaces cannot be made: ${(error as Error).message}`;
  }
})();

/** Networks that this process has made. */
let made = 0;

export class EmulatedHosts implements Disposable {
  readonly names: readonly string[];
  private readonly mark: string;
  private readonly folder: string;

  /**
   * @param folder for scripts and temporary files
   * @param rate of each link, as tc names it; default: no limit
   */
  constructor(count: number, folder: string, { rate }: { rate?: string } = {}) {
    this.mark = `rf${process.pid}x${made++}`;
    this.folder = folder;
    this.names = Array.from({ length: count }, (_, i) => `host${i}`);
    ip('netns', 'add', `${this.mark}switch`);
    ip('-n', `${this.mark}switch`, 'link', 'add', 'bridge', 'type', 'bridge');
    ip('-n', `${this.mark}switch`, 'link', 'set', 'bridge', 'up');
    const table = ['127.0.0.1 localhost', ...this.names.map((name, i) => `${NETWORK}.${i + 1} ${name}`)].join('\n');
    for (const [i, name] of this.names.entries()) {
      const space = this.space(i);
      ip('netns', 'add', space);
      ip('-n', space, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', name, 'netns', `${this.mark}switch`);
      ip('-n', space, 'addr', 'add', `${NETWORK}.${i + 1}/24`, 'dev', 'eth0');
      ip('-n', `${this.mark}switch`, 'link', 'set', name, 'master', 'bridge', 'up');
      for (const link of ['lo', 'eth0']) ip('-n', space, 'link', 'set', link, 'up');
      if (rate) {
        const shape = ['tbf', 'rate', rate, 'burst', '512kb', 'latency', '100ms'];
        for (const [where, link] of [
          [space, 'eth0'],
          [`${this.mark}switch`, name],
        ])
          this.inSpace(where, 'tc', 'qdisc', 'add', 'dev', link, 'root', ...shape);
      }
      // `ip netns exec` shows this file as /etc/hosts.
      mkdirSync(`/etc/netns/${space}`, { recursive: true });
      writeFileSync(`/etc/netns/${space}/hosts`, `${table}\n`);
    }
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      this.agent,
      [
        '#!/bin/bash',
        'while [[ $1 == -* ]]; do shift; done',
        'host=$1; shift',
        `exec ip netns exec ${this.mark}_\${host#host} unshare --uts bash -c 'hostname '"$host"'; export TMPDIR=${folder}/tmp-'"$host"'; mkdir -p $TMPDIR; '"$*"`,
        '',
      ].join('\n'),
    );
    chmodSync(this.agent, 0o755);
  }

  /** Starts a command with a rank on each host. */
  start(
    words: readonly string[],
    { cwd, launcher, env = {} }: { cwd: string; launcher: Launcher; env?: Record<string, string> },
  ) {
    const size = String(this.names.length);
    const hosts = this.names.map((name) => `${name}:1`).join(',');
    const variables = Object.keys({ RECTIFLOW_THREADS: '', ...env });
    const mpirun =
      launcher === 'openmpi'
        ? [
            ...['mpirun.openmpi', '--allow-run-as-root', '--bind-to', 'none', '-np', size, '-host', hosts],
            ...['--mca', 'plm_rsh_agent', this.agent, '--mca', 'plm_rsh_no_tree_spawn', '1'],
            ...['--mca', 'oob_tcp_if_include', `${NETWORK}.0/24`, '--mca', 'btl_tcp_if_include', `${NETWORK}.0/24`],
            ...['--mca', 'btl', 'tcp,self'],
            ...variables.flatMap((name) => ['-x', name]),
          ]
        : [
            ...['mpirun.mpich', '-launcher', 'ssh', '-launcher-exec', this.agent, '-hosts', hosts, '-iface', 'eth0'],
            // Otherwise the ranks find out that they share a memory, and try the loopback devices of one another.
            ...['-genv', 'UCX_TLS', 'tcp,self', '-genv', 'UCX_NET_DEVICES', 'eth0', '-np', size],
          ];
    const [first] = this.names;
    const inside = ['bash', '-c', `hostname ${first}; exec "$@"`, 'bash', ...mpirun, process.execPath, bin, ...words];
    return watch('ip', ['netns', 'exec', this.space(0), 'unshare', '--uts', ...inside], cwd, env);
  }

  /** Sets the link of a host up or down. */
  setLink(host: number, state: 'up' | 'down'): void {
    ip('-n', `${this.mark}switch`, 'link', 'set', this.names[host], state);
  }

  [Symbol.dispose](): void {
    for (const space of [...this.names.map((_, i) => this.space(i)), `${this.mark}switch`]) {
      const { stdout } = spawnSync('ip', ['netns', 'pids', space], { encoding: 'utf8' });
      for (const pid of stdout.split('\n').filter(Boolean)) spawnSync('kill', ['-9', pid]);
      spawnSync('ip', ['netns', 'del', space]);
      rmSync(`/etc/netns/${space}`, { recursive: true, force: true });
    }
  }

  private get agent(): string {
    return join(this.folder, 'agent.sh');
  }

  private space(host: number): string {
    return `${this.mark}_${host}`;
  }

  private inSpace(space: string, ...words: string[]): void {
    ip('netns', 'exec', space, ...words);
  }
}
