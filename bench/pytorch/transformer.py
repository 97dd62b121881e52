# Makes test/golden/transformer.json: outputs and gradients of PyTorch's TransformerEncoderLayer with norms before its parts.
#   pip install torch numpy
#   python bench/pytorch/transformer.py test/golden/transformer.json
# Values are a formula, so that only results are stored: element i of all parameters, in the order of our TransformerBlock (norm1,
# attention.query, key, value, projection, norm2, expand, contract, each weight and bias), is 0.4 sin(i + 1); element i of x is cos(i), and
# of the cotangent sin(2 i). All in float64.
import json
import sys

import torch

N, LENGTH, CHANNELS, HEADS, HIDDEN = 2, 4, 8, 2, 12
torch.set_default_dtype(torch.float64)


def formula(count, first):
    return 0.4 * torch.sin(torch.arange(first, first + count) + 1.0)


def block():
    layer = torch.nn.TransformerEncoderLayer(
        CHANNELS, HEADS, HIDDEN, dropout=0, activation="gelu", batch_first=True, norm_first=True
    )
    first = 0

    def fill(*shape):
        nonlocal first
        count = torch.Size(shape).numel()
        first += count
        return formula(count, first - count).reshape(shape)

    attention = layer.self_attn
    with torch.no_grad():
        layer.norm1.weight.copy_(fill(CHANNELS))
        layer.norm1.bias.copy_(fill(CHANNELS))
        for part in range(3):
            rows = slice(part * CHANNELS, (part + 1) * CHANNELS)
            attention.in_proj_weight[rows] = fill(CHANNELS, CHANNELS)
            attention.in_proj_bias[rows] = fill(CHANNELS)
        for module, shape in (
            (attention.out_proj, (CHANNELS, CHANNELS)),
            (layer.norm2, (CHANNELS,)),
            (layer.linear1, (HIDDEN, CHANNELS)),
            (layer.linear2, (CHANNELS, HIDDEN)),
        ):
            module.weight.copy_(fill(*shape))
            module.bias.copy_(fill(shape[0]))
    return layer


def results(mask):
    count = N * LENGTH * CHANNELS
    x = torch.cos(torch.arange(count) * 1.0).reshape(N, LENGTH, CHANNELS).requires_grad_()
    y = block()(x, src_mask=mask)
    y.backward(torch.sin(2.0 * torch.arange(count)).reshape(y.shape))
    return {name: [round(v, 9) for v in t.detach().flatten().tolist()] for name, t in (("output", y), ("gradient", x.grad))}


def main():
    # In PyTorch's masks, true is left out.
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    made = {"whole": results(None), "causal": results(causal)}
    with open(sys.argv[1], "w") as file:
        file.write("{\n" + ",\n".join(f'  "{name}": {json.dumps(one)}' for name, one in made.items()) + "\n}\n")


if __name__ == "__main__":
    main()
