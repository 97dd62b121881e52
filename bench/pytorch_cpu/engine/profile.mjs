// Profiles a run: times the launches of a device, by kernel and shape.

/**
 * Runs `work` on the result of `prepare`, with every launch of `device` timed. Work that is replayed must be recorded in `prepare`.
 * @returns the seconds that `work` returned for each run; and the launches and seconds of each kernel with its sizes (the tables
 * and whole numbers among its arguments), the longest first
 */
export async function profiled(device, prepare, work) {
  const { launcher, table, loaded } = device;
  const tables = new Map();
  const found = new Map();
  device.table = (values) => {
    const address = table.call(device, values);
    tables.set(address, values);
    return address;
  };
  // Wrapped below the recorder, so that the launches of a replayed step are timed too.
  device.launcher = (name, signature, kernel) => {
    const kinds = signature.split(' ');
    return launcher.call(device, name, signature, (...values) => {
      const start = performance.now();
      const result = kernel(...values);
      const seconds = (performance.now() - start) / 1e3;
      const key = `${name} ${sizesOf(values, kinds, tables)}`.trimEnd();
      const row = found.get(key) ?? { kernel: key, launches: 0, seconds: 0 };
      row.launches++;
      row.seconds += seconds;
      found.set(key, row);
      return result;
    });
  };
  loaded.clear();
  try {
    const prepared = await prepare();
    found.clear();
    const seconds = await work(prepared);
    return { seconds, kernels: [...found.values()].sort((a, b) => b.seconds - a.seconds) };
  } finally {
    // The properties that were set above hide the device's own methods.
    delete device.launcher;
    delete device.table;
    loaded.clear();
  }
}

function sizesOf(values, kinds, tables) {
  return values
    .flatMap((value, i) => {
      if (kinds[i] === 'i32') return [value];
      return kinds[i] === 'ptr' && tables.has(value) ? [`[${tables.get(value).join(' ')}]`] : [];
    })
    .join(' ');
}
