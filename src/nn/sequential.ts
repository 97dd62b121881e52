// Layers applied one after another.
import { checkArgument, kind, listOf } from '../arguments.ts';
import { scope } from '../tensor/scope.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';

/** A layer of one input: a module with `forward`, or a function such as `relu`. */
export type Layer = (Module & Forward) | ((x: Tensor) => Tensor);

interface Forward {
  /** Applies the layer. */
  forward(x: Tensor): Tensor;
}

const layersKind = listOf(
  kind(
    'a layer',
    (value) =>
      typeof value === 'function' ||
      (value instanceof Module && typeof (value as { forward?: unknown }).forward === 'function'),
  ),
  'modules with forward(), or functions',
);

/**
 * Layers applied one after another; parameters are named `layers.0.weight` and so on.
 * @example
 * const init = new Initializer({ seed: 1 });
 * const network = new Sequential([new Linear(8, 32, init), relu, new Linear(32, 2, init)]);
 * network.forward(randn([4, 8], { seed: 2 })).shape; // [4, 2]
 */
export class Sequential extends Module {
  readonly layers: readonly Layer[];

  /** @throws ArgumentError for anything but a list of layers */
  constructor(layers: readonly Layer[]) {
    super();
    checkArgument('Sequential', 'layers', layers, layersKind);
    this.layers = [...layers];
  }

  /** The result of the last layer; x itself if there are none. */
  forward(x: Tensor): Tensor {
    requireTensor('Sequential', x);
    return scope(() =>
      this.layers.reduce((h, layer, i) => {
        const y: unknown = typeof layer === 'function' ? layer(h) : layer.forward(h);
        requireTensor('Sequential', y, `a tensor from layers[${i}]`);
        return y;
      }, x),
    );
  }
}
