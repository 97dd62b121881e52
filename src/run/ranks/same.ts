// What all ranks of a job must have in common.
import { createHash } from 'node:crypto';
import { cpuIdentity } from '../../device/cc.ts';
import type { Device } from '../../device/device.ts';
import { fromEnvironment } from '../../device/environment.ts';
import type { Config } from '../config/types.ts';
import { NUMERICS, packageVersion } from '../machine/provenance.ts';
import type { Ranks } from './ranks.ts';

/**
 * Requires that all ranks have the configuration of the first, and the program and the kind of machine on which bits depend. All of them
 * call it.
 * @throws ConfigError or DeviceError on all ranks
 */
export function requireSameJob(ranks: Ranks, config: Config, device: Device): void {
  ranks.requireSame(config, machineOf(device));
}

/** Properties of program and machine that all ranks must share, because the bits of a part depend on them. */
function machineOf(device: Device): Record<string, string> {
  const identity = createHash('sha256').update(cpuIdentity()).digest('hex').slice(0, 12);
  const instructions = fromEnvironment('RECTIFLOW_MARCH') ?? `native ${identity}`;
  return {
    version: `${packageVersion()}, arithmetic ${NUMERICS}`,
    device: `${device.kind}${device.exact ? ', exact' : ''}`,
    precision: device.precision,
    ...(device.kind === 'cpu' && { 'instruction set': instructions }),
  };
}
