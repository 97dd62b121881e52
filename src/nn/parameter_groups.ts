// Parameter groups: parameters that an optimiser updates with other options than the rest.
import { checkOptions, kind, kinds, type OptionKinds } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';
import type { OptimizerOptions } from './optimizer_options.ts';

/** Options that hold for all parameters together. */
type Shared = 'gradientClip' | 'emaRate';

/** The options that a group may override. */
export type GroupOptions<Options> = Partial<Omit<Options, Shared>>;

/**
 * Parameters that take other options than the rest: modules or tensors of the network, or a function that says for each
 * parameter, by path and tensor, whether it belongs to the group. `new AdamW(network, { weightDecay: 0.1, groups: [{
 * parameters: (name) => name.endsWith('bias'), weightDecay: 0 }] })`
 */
export type ParameterGroup<Options> = GroupOptions<Options> & { parameters: GroupMembers };

/** A module, a tensor, a list of them, or a function of path and tensor. */
export type GroupMembers =
  | Module
  | Tensor
  | readonly (Module | Tensor)[]
  | ((path: string, parameter: Tensor) => boolean);

const isMember = (value: unknown) => Tensor.is(value) || value instanceof Module;

const membersKind = kind(
  'modules, tensors, or a function of path and tensor',
  (value) => isMember(value) || kinds.callback.accepts(value) || (Array.isArray(value) && value.every(isMember)),
);

/** The kind of the option `groups`; checkGroup checks each. */
export const groupList = kind('a list of parameter groups', Array.isArray);

/** A group after its checks. */
export interface CheckedGroup<Options> {
  holds(path: string, parameter: Tensor): boolean;
  /** The tensors that it names one by one. */
  named: readonly Tensor[];
  options: GroupOptions<Options>;
}

/** @throws ArgumentError naming the optimiser and the number of the group */
export function checkGroup<Options extends OptimizerOptions>(
  name: string,
  group: ParameterGroup<Options>,
  number: number,
  { gradientClip, emaRate, ...known }: OptionKinds<Options>,
): CheckedGroup<Options> {
  const op = `${name} groups[${number}]`;
  const groupKinds = { ...known, parameters: membersKind } as unknown as OptionKinds<ParameterGroup<Options>>;
  const checked = checkOptions(op, group, groupKinds, ['parameters'] as never[]);
  const { parameters, ...options } = checked as { parameters: GroupMembers };
  if (typeof parameters === 'function')
    return { holds: parameters, named: [], options: options as GroupOptions<Options> };
  const members: readonly (Module | Tensor)[] = Array.isArray(parameters) ? parameters : [parameters];
  const named = members.flatMap((member) =>
    member instanceof Module ? [...member.namedParameters()].map(([, parameter]) => parameter) : [member],
  );
  const set = new Set(named);
  return { holds: (_, parameter) => set.has(parameter), named, options: options as GroupOptions<Options> };
}

/**
 * The number of each parameter's group, -1 for those in none.
 * @throws ValueError for a parameter in two groups, a group without parameters, or a tensor that is not a parameter
 */
export function groupsOf<Options>(
  name: string,
  parameters: readonly (readonly [path: string, parameter: Tensor])[],
  groups: readonly CheckedGroup<Options>[],
): number[] {
  const own = new Set(parameters.map(([, parameter]) => parameter));
  for (const { named } of groups)
    for (const tensor of named)
      if (!own.has(tensor))
        throw new ValueError(`[${name}] expected groups of parameters of the module, got ${tensor.describe()}`);
  const numbers = parameters.map(([path, parameter]) => {
    const found = groups.flatMap(({ holds }, i) => (holds(path, parameter) === true ? [i] : []));
    if (found.length > 1)
      throw new ValueError(
        `[${name}] expected each parameter in one group, got "${path}" in groups ${found.join(' and ')}`,
      );
    return found[0] ?? -1;
  });
  const empty = groups.findIndex((_, i) => !numbers.includes(i));
  if (empty >= 0) throw new ValueError(`[${name}] expected parameters in groups[${empty}], got none`);
  return numbers;
}
