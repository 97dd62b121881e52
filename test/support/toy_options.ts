// What each option of the command `toy` does, as a line and its output: for test/cli/options.test.ts.

const network = '--steps 5 --batch 8 --width 4 --depth 1';
const toy = `toy ${network} --points 10`;

/** @param out a file ending in t.json that may be written */
export function toyRows(out: string): Record<string, [line: string, says: RegExp]> {
  return {
    from: [`${toy} --from two_moons --reflow 0 --out ${out}`, /report: .*t\.json/],
    to: ['toy --to two_mons', /unknown set "two_mons"; did you mean two_moons\?/],
    given: ['toy --given pairs.csv', /--given expects a file name ending in \.npz/],
    coupling: [
      'toy --coupling classes --to rings',
      /needs sets with equally many classes, at least 2; "triangle" has 3/,
    ],
    velocity: ['toy --velocity kernel --width 8', /expected no --width with the velocity "kernel"/],
    reflow: [`${toy} --velocity kernel --reflow 2 --pairs 20`.replace(network, ''), /3-rectified flow/],
    distil: ['toy --velocity kernel --distil', /expected no --distil with the velocity "kernel"/],
    cost: ['toy --cost 1', /--cost expects a number from 1\.1 to 10, got "1"/],
    width: ['toy --width 0', /--width expects a whole number from 1 to 1024/],
    depth: ['toy --depth 9', /--depth expects a whole number from 1 to 8/],
    rate: ['toy --rate 2', /--rate expects a number above 0, at most 1/],
    batch: ['toy --batch 1e6', /--batch expects a whole number from 1 to 65536/],
    l2: ['toy --l2 -1', /--l2 expects a number from 0 to 1, got "-1"/],
    steps: [`${toy} --reflow 0`, /^1-rectified flow +\d+\.\d{4} +\d+\.\d{4} /m],
    pairs: ['toy --coupling optimal --pairs 3000', /takes at most 2000 pairs, got 3000/],
    bandwidth: ['toy --velocity kernel --bandwidth 0', /--bandwidth expects a number from 0\.001/],
    neighbours: ['toy --neighbours 5', /expected no --neighbours with the velocity "mlp"/],
    points: ['toy --points 1', /--points expects a whole number from 2 to 20000/],
    seed: ['toy --seed -1', /--seed expects a whole number from 0/],
    out: ['toy --out x.svg', /--out expects a file name ending in \.html or \.json, got "x\.svg"/],
    open: ['toy --open', /--open needs --out X\.html/],
  };
}
