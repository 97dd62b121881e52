// The gradient graph: a node is an op, its parents, and what it saved for its backward rule.
// Nodes are reference-counted: a tensor holds the node that made it, a node holds its parents' nodes. The last release
// frees the saved tensors, so a graph that is never run backward is freed when its scope closes.
import { NotDifferentiableError } from '../errors.ts';
import type { BackwardOptions, GradientHook, GradientSource, Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import { runBackward } from './backward.ts';
import type { RuleResult, ScaledGradient } from './gradient_parts.ts';

export interface BackwardContext<Attributes> {
  /** The gradient of the first output that received one. */
  grad: Tensor;
  /** One per output; null for an output that received none. */
  grads: readonly (Tensor | null)[];
  /** The tensors given to apply() as `saved`, in order. */
  saved: readonly Tensor[];
  attributes: Attributes;
  /** Whether parent i wants a gradient. */
  needs: readonly boolean[];
  /** Whether parent i is a leaf for which the rule may return a deferred gradient. */
  defers: readonly boolean[];
  /**
   * What parent i has received from other nodes, at most two gradients to be summed. A rule that calls this adds them
   * to its own gradient and returns a ScaledGradient marked `joined`.
   */
  join: (i: number) => readonly ScaledGradient[];
  /** For an op that takes scaled gradients: the gradients with their factors, which `grad` and `grads` leave out. */
  scaled: readonly (ScaledGradient | null)[];
}

/** Returns one gradient per parent, null where none is needed. Runs untraced. */
export type BackwardRule<Attributes> = (context: BackwardContext<Attributes>) => readonly RuleResult[];

/** Where a gradient goes: to the node that made a tensor, or to a leaf; nowhere when undefined. */
export type Edge = { node: GraphNode; output: number } | { leaf: Tensor } | undefined;

export class GraphNode implements GradientSource {
  readonly name: string;
  readonly edges: readonly Edge[];
  readonly outputs: number;
  readonly rule: BackwardRule<unknown>;
  readonly attributes: unknown;
  /** Whether the rule applies the factors of its gradients itself. */
  readonly takesScaled: boolean;
  readonly hooks = new Map<number, Set<GradientHook>>();
  private savedTensors: Tensor[] | undefined;
  /** How often the memory of each had been written when it was saved. */
  private readonly writes: readonly number[];
  private references = 0;

  constructor(options: {
    name: string;
    rule: BackwardRule<unknown>;
    parents: readonly (Tensor | undefined)[];
    saved: readonly Tensor[];
    attributes: unknown;
    outputs: number;
    takesScaled?: boolean;
  }) {
    this.name = options.name;
    this.rule = options.rule;
    this.attributes = options.attributes;
    this.outputs = options.outputs;
    this.takesScaled = options.takesScaled ?? false;
    this.edges = options.parents.map(edgeOf);
    for (const edge of this.edges) if (edge && 'node' in edge) edge.node.retain();
    // The caller may dispose its tensors before backward, so keep references of our own.
    this.savedTensors = options.saved.map((t) => alias(t));
    this.writes = options.saved.map(({ storage }) => storage.writes);
  }

  /** What was saved; undefined once freed. */
  get saved(): readonly Tensor[] | undefined {
    return this.savedTensors;
  }

  /**
   * @throws NotDifferentiableError naming a saved tensor whose memory was written since: its rule would read other
   * numbers
   */
  assertUnwritten(): void {
    this.savedTensors?.forEach((t, i) => {
      assertUnwritten(this.name, t, this.writes[i]);
    });
  }

  retain(): void {
    this.references++;
  }

  release(): void {
    // A loop, not recursion: graphs are deeper than the stack.
    const dying: GraphNode[] = [];
    if (--this.references === 0) dying.push(this);
    for (let node = dying.pop(); node; node = dying.pop()) {
      node.freeSaved();
      for (const edge of node.edges) if (edge && 'node' in edge && --edge.node.references === 0) dying.push(edge.node);
    }
  }

  freeSaved(): void {
    for (const t of this.savedTensors ?? []) t.dispose();
    this.savedTensors = undefined;
  }

  backward(root: Tensor, cotangent: Tensor | undefined, options: BackwardOptions): void {
    runBackward(this, root, cotangent, options);
  }
}

/** @throws NotDifferentiableError unless the memory of `t` has been written exactly `writes` times */
export function assertUnwritten(op: string, t: Tensor, writes: number): void {
  if (t.storage.writes !== writes)
    throw new NotDifferentiableError(
      `[${op}] backward() needs the saved values of ${t.describe()}, but its memory was written after the op ran`,
    );
}

/** Makes `node` the source of `outputs`; undefined stands for one that carries no gradient. */
export function attach(node: GraphNode, outputs: readonly (Tensor | undefined)[]): void {
  outputs.forEach((output, index) => {
    if (!output) return;
    output.source = node;
    output.requiresGrad = true;
    node.retain();
    output.sourceOutput = index;
  });
}

function edgeOf(parent: Tensor | undefined): Edge {
  if (!parent?.requiresGrad) return undefined;
  if (parent.source) return { node: parent.source as GraphNode, output: parent.sourceOutput };
  return { leaf: parent };
}
