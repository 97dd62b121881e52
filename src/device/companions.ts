// Code of higher layers that one kind of device needs. It is imported while the first such device opens, so that programs
// for other devices do not load it.
const loaders = new Map<string, (() => Promise<void>)[]>();

/** Kinds whose code was loaded. */
const loaded = new Set<string>();

/**
 * Has `load` called and awaited when a device of that kind opens. A module registers when it is imported; a device that is
 * open by then works without the code.
 * @param late whether the code is then loaded at once, and used as soon as it has arrived
 */
export function loadWith(kind: 'cuda', load: () => Promise<void>, late = false): void {
  loaders.set(kind, [...(loaders.get(kind) ?? []), load]);
  if (late && loaded.has(kind)) void load();
}

/** Loads what was registered for that kind of device, and what that registers. */
export async function loadCompanions(kind: string): Promise<void> {
  let done = 0;
  for (let all = loaders.get(kind) ?? []; done < all.length; all = loaders.get(kind) ?? []) {
    const waiting = all.slice(done);
    done = all.length;
    await Promise.all(waiting.map((load) => load()));
  }
  loaded.add(kind);
}
