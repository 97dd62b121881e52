// Code of higher layers that one kind of device needs. It is imported while the first such device opens, so that programs
// for other devices do not load it.
const loaders = new Map<string, (() => Promise<void>)[]>();

/**
 * Has `load` called and awaited when a device of that kind opens. A module registers when it is imported; a device that is
 * open by then works without the code.
 */
export function loadWith(kind: 'cuda', load: () => Promise<void>): void {
  loaders.set(kind, [...(loaders.get(kind) ?? []), load]);
}

/** Loads what was registered for that kind of device. */
export async function loadCompanions(kind: string): Promise<void> {
  await Promise.all((loaders.get(kind) ?? []).map((load) => load()));
}
