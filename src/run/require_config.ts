// The check of a configuration that a function of this folder takes. It loads the schema, so it is apart from the kinds of arguments that
// training loops without a configuration share.
import { checkArgument, kind } from '../arguments.ts';
import type { Config } from './config/schema.ts';
import { checkConfig, isTree } from './config/tree.ts';

const configKind = kind('a configuration, as loadConfig() returns it', isTree);

/** @throws ArgumentError for what is no table of keys; ConfigError for one that the schema refuses, each fault with its path */
export function requireConfig(op: string, config: Config): void {
  checkArgument(op, 'config', config, configKind);
  checkConfig(config, `handed to ${op}`);
}
