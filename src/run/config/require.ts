// Validation of a configuration argument.
import { checkArgument, kind } from '../../arguments.ts';
import { checkConfig, isTree } from './tree.ts';
import type { Config } from './types.ts';

const configKind = kind('a configuration, as loadConfig() returns it', isTree);

/** @throws ArgumentError for a value that is not an object; ConfigError listing each fault by its path */
export function requireConfig(op: string, config: Config): void {
  checkArgument(op, 'config', config, configKind);
  checkConfig(config, `passed to ${op}`);
}
