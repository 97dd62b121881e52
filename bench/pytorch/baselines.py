"""Training steps of the official CIFAR-10 network at batch 128 in PyTorch, three ways:

official   as the official code does it: fp32 with tf32 products, channels first, Adam, the average in a Python loop
autocast   bf16 autocast, channels last, cuDNN's choice measured, fused Adam, the average by foreach
compiled   the same through torch.compile with CUDA graphs (mode reduce-overhead)
"""

import time

import torch

from measure import Report, arguments, seconds_of
from network import Network
from training import training_step

PARAMETERS = 61_804_419

options = arguments()
report = Report(options)
device = options.device
batch = 2 if options.small else 128
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = True


def step_of(way):
    torch.manual_seed(0)
    network = Network(base=32, blocks=1) if options.small else Network()
    network = network.to(device).train()
    count = sum(p.numel() for p in network.parameters())
    if not options.small and count != PARAMETERS:
        raise SystemExit(f"the network has {count} parameters, the official one {PARAMETERS}")
    fast = way != "official"
    torch.backends.cudnn.benchmark = fast
    data = torch.randn(batch, 3, 32, 32, device=device)
    if fast:
        network = network.to(memory_format=torch.channels_last)
        data = data.to(memory_format=torch.channels_last)
    return training_step(
        network, data, autocast=fast, foreach=fast, fused=fast and device == "cuda", compiled=way == "compiled"
    )


for way in ("autocast", "official", "compiled"):
    if time.monotonic() > options.deadline:
        break
    seconds = seconds_of(step_of(way), device, rounds=2 if options.small else 10)
    report.add(f"{way}_images_per_second", batch / seconds)
    if device == "cuda":
        report.add(f"{way}_gibibytes", torch.cuda.max_memory_allocated() / 2**30)
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.empty_cache()
