// Tells built-in types apart in Node, for values of other realms too. native_types.browser.ts stands in for this file in a bundle for
// browsers.
import { types } from 'node:util';

export const { isAnyArrayBuffer, isMap, isNativeError, isPromise, isProxy, isSet } = types;
