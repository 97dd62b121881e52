"""Times cuDNN on the most expensive convolutions of the official CIFAR-10 network at batch 128: bf16, channels last, three passes."""

import time

import torch

from measure import Report, arguments, seconds_of

# Height and width, input and output channels, kernel: the convolutions with the largest share of all operations.
SHAPES = [
    (16, 256, 256, 3),
    (32, 128, 128, 3),
    (16, 512, 256, 3),
    (32, 256, 256, 3),
    (32, 256, 128, 3),
    (8, 256, 256, 3),
    (16, 256, 256, 1),
    (32, 384, 128, 3),
    (8, 512, 256, 3),
    (32, 256, 128, 1),
    (16, 384, 256, 3),
    (4, 256, 256, 3),
]

# Repeats of a pass in one CUDA graph.
REPEATS = 20

options = arguments()
report = Report(options)
device = options.device
torch.backends.cudnn.benchmark = True
batch = 1 if options.small else 128

for size, inputs, outputs, kernel in SHAPES:
    if time.monotonic() > options.deadline:
        break

    def images(channels):
        made = torch.randn(batch, channels, size, size, device=device, dtype=torch.bfloat16)
        return made.to(memory_format=torch.channels_last)

    x, dy = images(inputs), images(outputs)
    weight = torch.randn(outputs, inputs, kernel, kernel, device=device, dtype=torch.bfloat16)
    weight = weight.to(memory_format=torch.channels_last)
    padding = kernel // 2
    flops = 2 * batch * size * size * inputs * outputs * kernel * kernel

    def backward(which):
        return torch.ops.aten.convolution_backward(
            dy, x, weight, None, [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, which
        )

    passes = {
        "forward": lambda: torch.nn.functional.conv2d(x, weight, padding=padding),
        "input_gradient": lambda: backward([True, False, False]),
        "weight_gradient": lambda: backward([False, True, False]),
    }
    for name, work in passes.items():
        rate = flops / seconds_of(work, device, repeats=REPEATS) / 1e12
        report.add(f"{size}x{size} {inputs}->{outputs} k{kernel} {name} teraflops", rate)
