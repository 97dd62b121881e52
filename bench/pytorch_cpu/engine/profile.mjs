// Times every kernel launch of a run, by kernel and shape.

/**
 * Runs `work` on the result of `prepare` and times every launch of `device`. Anything that is recorded must be recorded in
 * `prepare`.
 * @returns the seconds of each run, as returned by `work`; launches and seconds of each kernel and its sizes (the tables and
 * whole numbers among its arguments), the longest first
 */
export async function profileLaunches(device, prepare, work) {
  const { launcher, table, loaded } = device;
  const tables = new Map();
  const found = new Map();
  device.table = (values) => {
    const address = table.call(device, values);
    tables.set(address, values);
    return address;
  };
  // The timer is inside the recorder's wrapper, so that launches of a replayed step are timed too.
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
    // Deletes the properties set above, which hide the device's own methods.
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
