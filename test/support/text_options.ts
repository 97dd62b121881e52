// Options of commands on text-to-image models: for each a line with the option, or with an invalid value, and its effect.

/** By option. */
export type Rows = Record<string, [line: string, says: RegExp]>;

type At = (name: string) => string;

/** The rows of `text`, without those of its device. @param at the path of a file by its name @param model the folder of a model */
export function textRows(at: At, model: string): Rows {
  const text = `text --model ${model} cat --size 64`;
  return {
    model: [`text cat --out ${at('x.png')}`, /--model is required/],
    out: [text, /--out is required/],
    negative: [`${text} --negative dog --out ${at('x.png')}`, /--negative has no effect without a --guidance above 1/],
    steps: [`${text} --steps 3 --out ${at('x.png')}`, /^NFE 3 /m],
    sampler: [`${text} --sampler heun --out ${at('x.png')}`, /^NFE 2 /m],
    tol: [`${text} --sampler rk45 --tol 100 --out ${at('x.png')}`, /^NFE 8 /m],
    guidance: [`${text} --guidance 2 --out ${at('x.png')}`, /2 doubles the work/],
    seed: [`${text} --seed -1 --out ${at('x.png')}`, /--seed expects/],
    noise: [`${text} --noise white --out ${at('x.png')}`, /--noise expects one of torch, own, got "white"/],
    latents: [`${text} --latents ${at('none.npy')} --out ${at('x.png')}`, /none\.npy: no such file/],
    count: [`${text} --count 2 --out ${at('x.png')}`, /^2 pictures in/m],
    size: [
      `${text.replace('64', '100x60')} --out ${at('x.png')}`,
      /--size expects multiples of 8 pixels, got 100 x 60/,
    ],
    columns: [`${text} --columns 2 --out x.npz`, /--columns has an effect only on a grid, a \.png; got "x\.npz"/],
    tile: [`${text} --tile 60 --out ${at('x.png')}`, /--tile expects a multiple of 8 pixels/],
    lora: [`${text} --lora ${at('none')}:0.5 --out ${at('x.png')}`, /none: no such file/],
    variant: [`${text} --variant fp16 --out ${at('x.png')}`, /has no weights of the variant "fp16"/],
    tokenizer: [`${text} --tokenizer ${at('none')} --out ${at('x.png')}`, /vocab\.json: no such file/],
    prediction: [`${text} --prediction data --out ${at('x.png')}`, /--prediction expects one of velocity, noise/],
    weights: [
      `${text} --weights f64 --out ${at('x.png')}`,
      /--weights expects one of f32, files, f16, bf16, got "f64"/,
    ],
    precision: [`${text} --precision bf16 --out ${at('x.png')}`, /precision bf16 needs the device cuda/],
  };
}

/** The rows of `serve --model`. @param elsewhere a line of `serve --checkpoint` that cannot listen */
export function servedTextRows(at: At, model: string, elsewhere: string): Rows {
  return {
    model: [`serve --model ${at('none')} --port 0`, /none: no such file or folder/],
    variant: [`serve --model ${model} --variant fp16 --port 0`, /has no weights of the variant "fp16"/],
    tokenizer: [`serve --model ${model} --tokenizer ${at('none')} --port 0`, /vocab\.json: no such file/],
    prediction: [`${elsewhere} --prediction noise`, /--prediction has no effect with --checkpoint/],
    lora: [`serve --model ${model} --lora ${at('none')}:0.5 --port 0`, /none: no such file/],
    tile: [`serve --model ${model} --tile 60 --port 0`, /tile expects a multiple of 8 pixels, at least 64, got 60/],
    weights: [`serve --model ${model} --weights f64 --port 0`, /--weights expects one of f32, files, f16, bf16/],
    precision: [`serve --model ${model} --precision bf16 --port 0`, /precision bf16 needs the device cuda/],
  };
}

/** The rows of `estimate --model`. @param tiny options of a small configuration */
export function estimatedTextRows(model: string, tiny: string): Rows {
  return {
    model: [`estimate --model ${model} --size 64`, /^decoding +\d.*MB$/m],
    weights: [`estimate --model ${model} --weights f64`, /--weights expects one of f32, files, f16, bf16/],
    variant: [`estimate --model ${model} --variant fp16`, /has no weights of the variant "fp16"/],
    size: [`estimate --model ${model} --size 60`, /expected a size of multiples of 8, got 60 x 60/],
    steps: [`estimate ${tiny} --steps 2`, /--steps has no effect without --model/],
    sampler: [
      `estimate --model ${model} --sampler rk45`,
      /--sampler expects one of euler, heun, midpoint, rk4, got "rk45"/,
    ],
    guidance: [`estimate --model ${model} --guidance -1`, /--guidance expects a number >= 0, got "-1"/],
    count: [`estimate --model ${model} --count 0`, /--count expects/],
    tile: [`estimate --model ${model} --tile 60`, /--tile expects/],
    precision: [`estimate --model ${model} --precision bf16`, /precision bf16 needs the device cuda/],
  };
}
