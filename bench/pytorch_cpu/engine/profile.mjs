// Where a run's time goes: the launches of a device, by kernel and shape.

/**
 * Runs `work` with every launch of `device` timed.
 * @returns seconds of each run as `work` gives them, and for each kernel with its sizes (tables and whole numbers among its
 * arguments) launches and seconds, the longest first
 */
export async function profiled(device, work) {
  const { load, table } = device;
  const tables = new Map();
  const found = new Map();
  device.table = (values) => {
    const address = table.call(device, values);
    tables.set(address, values);
    return address;
  };
  const wrapped = new Map();
  device.load = (module) => {
    let launchers = wrapped.get(module);
    if (launchers) return launchers;
    launchers = {};
    for (const [name, launch] of Object.entries(load.call(device, module))) {
      const kinds = module.kernels[name].split(' ');
      launchers[name] = (...values) => {
        const start = performance.now();
        const result = launch(...values);
        const seconds = (performance.now() - start) / 1e3;
        const key = `${name} ${sizesOf(values, kinds, tables)}`.trimEnd();
        const row = found.get(key) ?? { kernel: key, launches: 0, seconds: 0 };
        row.launches++;
        row.seconds += seconds;
        found.set(key, row);
        return result;
      };
    }
    wrapped.set(module, launchers);
    return launchers;
  };
  try {
    const seconds = await work();
    return { seconds, kernels: [...found.values()].sort((a, b) => b.seconds - a.seconds) };
  } finally {
    // What was set here hides the device's own methods.
    delete device.load;
    delete device.table;
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
