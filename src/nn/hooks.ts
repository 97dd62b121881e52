// Hooks of modules, as PyTorch's register_forward_pre_hook and register_forward_hook: they look at what a layer takes and
// returns, or replace it, without a change of the network that contains it.
import { checkArgument, describeValue, kinds } from '../arguments.ts';
import { ArgumentError } from '../errors.ts';
import type { HookHandle } from '../tensor/tensor.ts';
import { Module } from './module.ts';

type WithForward = Module & { forward(...given: never[]): unknown };

type Hooks = { before: Set<ForwardPreHook<never[], Module>>; after: Set<ForwardHook<never[], unknown, Module>> };

/** Receives the arguments of `forward`. A list that it returns takes their place. */
export type ForwardPreHook<Arguments extends unknown[], M> = (
  given: Arguments,
  module: M,
) => readonly unknown[] | undefined;

/** Receives the result of `forward`, and its arguments. What it returns, unless undefined, takes the place of the result. */
export type ForwardHook<Arguments extends unknown[], Output, M> = (
  output: Output,
  given: Arguments,
  module: M,
) => Output | undefined;

const hooksOf = new WeakMap<Module, Hooks>();

/**
 * Calls `hook` with the arguments of each `module.forward(...)`, before it runs; hooks run in the order in which they were
 * added. Tensors belong to the scope that is open: keep() what shall outlive it.
 * @returns a handle that removes the hook
 * @throws ArgumentError for a module without a method `forward`
 * @example
 * const layer = new Linear(2, 1);
 * const doubled = registerForwardPreHook(layer, ([x]) => [mul(x, 2)]);
 * const x = tensor([[1, 2]]);
 * const y = layer.forward(x);
 * doubled.remove();
 * sub(y, mul(layer.forward(x), 2)); // [[0]]
 */
export function registerForwardPreHook<M extends WithForward>(
  module: M,
  hook: ForwardPreHook<Parameters<M['forward']>, M>,
): HookHandle {
  return register('registerForwardPreHook', module, 'before', hook as never);
}

/**
 * Calls `hook` with the result of each `module.forward(...)`: to collect activations, or to change them.
 * @returns a handle that removes the hook
 * @throws ArgumentError for a module without a method `forward`
 * @example
 * const network = new MLP([2, 8, 1]);
 * const shapes = [];
 * const handle = registerForwardHook(network.layers[0], (output) => void shapes.push(output.shape));
 * network.forward(zeros([4, 2]));
 * handle.remove();
 * shapes; // [[4, 8]]
 */
export function registerForwardHook<M extends WithForward>(
  module: M,
  hook: ForwardHook<Parameters<M['forward']>, ReturnType<M['forward']>, M>,
): HookHandle {
  return register('registerForwardHook', module, 'after', hook as never);
}

function register<When extends keyof Hooks>(
  op: string,
  module: Module,
  when: When,
  hook: Hooks[When] extends Set<infer Hook> ? Hook : never,
): HookHandle {
  if (!(module instanceof Module) || typeof Reflect.get(module, 'forward') !== 'function')
    throw new ArgumentError(op, 'a module with a method forward', describeValue(module));
  checkArgument(op, 'hook', hook, kinds.callback);
  const hooks = hooksOf.get(module) ?? install(module);
  // The same function may be added twice.
  const own = ((...given: never[]) => (hook as (...all: never[]) => unknown)(...given)) as never;
  (hooks[when] as Set<unknown>).add(own);
  const remove = () => {
    (hooks[when] as Set<unknown>).delete(own);
  };
  return { remove, [Symbol.dispose]: remove };
}

/** Puts a method of the module's own in front of that of its class. Parameters are looked for among enumerable properties, so the method is not enumerable. */
function install(module: Module): Hooks {
  const hooks: Hooks = { before: new Set(), after: new Set() };
  hooksOf.set(module, hooks);
  const plain = Reflect.get(module, 'forward') as (...given: never[]) => unknown;
  const forward = (...given: never[]): unknown => {
    let current = given;
    for (const hook of hooks.before) {
      const replaced = hook(current, module);
      if (replaced === undefined) continue;
      if (!Array.isArray(replaced))
        throw new ArgumentError(
          'registerForwardPreHook',
          'a hook that returns a list of arguments or nothing',
          describeValue(replaced),
        );
      current = [...replaced] as never[];
    }
    let output = plain.apply(module, current);
    for (const hook of hooks.after) {
      const replaced = hook(output, current, module);
      if (replaced !== undefined) output = replaced;
    }
    return output;
  };
  Object.defineProperty(module, 'forward', { value: forward, configurable: true, writable: true, enumerable: false });
  return hooks;
}
