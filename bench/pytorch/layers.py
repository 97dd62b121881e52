"""Lists the layers of a network by shape and times single layers: convolution, group norm with SiLU, attention, linear."""

import collections

import torch
from torch import nn
from torch.nn import functional

from network import Attention, norm


def layers_of(network, channels, size):
    """Every distinct layer and how often it occurs, for images [N, channels, size, size]. Computes nothing."""
    counts = collections.Counter()

    def note(**layer):
        counts[tuple(layer.items())] += 1

    def watch(module, inputs, output):
        x = inputs[0]
        if isinstance(module, nn.Conv2d):
            note(
                op="conv",
                size=x.shape[-1],
                inputs=module.in_channels,
                outputs=module.out_channels,
                kernel=module.kernel_size[0],
            )
        elif isinstance(module, nn.GroupNorm):
            note(op="norm", size=x.shape[-1], inputs=x.shape[1])
        elif isinstance(module, Attention):
            note(op="attention", size=x.shape[-1], inputs=x.shape[1])
        elif isinstance(module, nn.Linear):
            note(op="linear", inputs=module.in_features, outputs=module.out_features)

    handles = [module.register_forward_hook(watch) for module in network.modules()]
    with torch.no_grad():
        network.to("meta")(torch.empty(1, channels, size, size, device="meta"), torch.empty(1, device="meta"))
    for handle in handles:
        handle.remove()
    return [{**dict(layer), "count": count} for layer, count in counts.items()]


def layer_call(layer, batch, memory_format):
    """Operands that require gradients, the gradient of the result, and a function from operands to the result."""
    inputs = layer["inputs"]
    leaf = lambda *shape: torch.randn(shape).requires_grad_()

    def image(channels):
        made = torch.randn(batch, channels, layer["size"], layer["size"])
        return made.to(memory_format=memory_format)

    if layer["op"] == "conv":
        kernel, outputs = layer["kernel"], layer["outputs"]
        weight = torch.randn(outputs, inputs, kernel, kernel).to(memory_format=memory_format)
        operands = [image(inputs).requires_grad_(), weight.requires_grad_(), leaf(outputs)]
        return operands, image(outputs), lambda x, w, b: functional.conv2d(x, w, b, padding=kernel // 2)
    if layer["op"] == "norm":
        module = norm(inputs)
        run = lambda x, w, b: functional.silu(functional.group_norm(x, module.num_groups, w, b, module.eps))
        return [image(inputs).requires_grad_(), leaf(inputs), leaf(inputs)], image(inputs), run
    if layer["op"] == "attention":
        shape = (batch, layer["size"] ** 2, inputs)
        return [leaf(*shape) for _ in range(3)], torch.randn(shape), functional.scaled_dot_product_attention
    outputs = layer["outputs"]
    return [leaf(batch, inputs), leaf(outputs, inputs), leaf(outputs)], torch.randn(batch, outputs), functional.linear
