// The check of a configuration that a caller hands to a function.
import { checkArgument, kind } from '../../arguments.ts';
import type { Config } from './schema.ts';
import { checkConfig, isTree } from './tree.ts';

const configKind = kind('a configuration, as loadConfig() returns it', isTree);

/** @throws ArgumentError for what is no table of keys; ConfigError for one that the schema refuses, each fault with its path */
export function requireConfig(op: string, config: Config): void {
  checkArgument(op, 'config', config, configKind);
  checkConfig(config, `handed to ${op}`);
}
