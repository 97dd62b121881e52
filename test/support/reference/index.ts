/**
 * The float64 reference: one slow, obvious function per op, used by every test that needs the right answer.
 */
export * from './array.ts';
export * from './conv.ts';
export * from './elementwise.ts';
export * from './fir.ts';
export * from './gradient.ts';
export * from './losses.ts';
export * from './matmul.ts';
export * from './movement.ts';
export * from './norm.ts';
export * from './ode.ts';
export * from './pooling.ts';
export * from './reduce.ts';
