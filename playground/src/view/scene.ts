// What the large picture shows, from the store.
import * as store from '../model/store.ts';
import type { Scene } from './paint.ts';

export function currentScene(time = store.view.value.time): Scene {
  const { paths, arrows, target, field, difference, density, tab } = store.view.value;
  return {
    clouds: store.clouds.value,
    paths: tab === 0 ? undefined : store.shownPaths.value,
    field: store.field.value,
    difference,
    probe: tab === 0 ? undefined : store.probe.value,
    show: { paths, arrows, target, field: field || difference, density, time, pairs: tab === 0 },
  };
}
