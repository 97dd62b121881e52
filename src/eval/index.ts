// How good samples are: feature networks and scores, the public names of `rectiflow/eval`.
export { FidInception, type InceptionFeatures, inceptionState } from './inception.ts';
export { Lpips, type LpipsOptions, vgg16State } from './lpips.ts';
export { readStateArrays, type StateArrays } from './weights.ts';
