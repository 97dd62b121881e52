// Where a run's time goes: the launches of a device, by kernel and shape.

/**
 * Runs `work` on what `prepare` gives, with every launch of `device` timed; what is recorded must be so in `prepare`.
 * @returns seconds of each run as `work` gives them, and for each kernel with its sizes (tables and whole numbers among its
 * arguments) launches and seconds, the longest first
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
  // Below what notes launches, so that those of a step that is replayed are timed too.
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
    // What was set here hides the device's own methods.
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
