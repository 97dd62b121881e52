// The float64 reference: one slow, obvious function per op, used by every test that needs the right answer.
export * from './array.ts';
export * from './conv.ts';
export * from './einsum.ts';
export * from './elementwise.ts';
export * from './fir.ts';
export * from './gradient.ts';
export * from './indexing.ts';
export * from './layer_norm.ts';
export * from './math.ts';
export * from './matmul.ts';
export * from './movement.ts';
export * from './norm.ts';
export * from './ode.ts';
export * from './pooling.ts';
export * from './reduce.ts';
export * from './scan.ts';
export * from './shapes.ts';
