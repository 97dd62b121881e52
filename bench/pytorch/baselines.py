"""Training steps of the official CIFAR-10 network at batch 128 in PyTorch, three ways:

official   as the official code does it: fp32 with tf32 products, channels first, Adam, the average in a Python loop
autocast   bf16 autocast, channels last, cuDNN's choice measured, fused Adam, the average by foreach
compiled   the same through torch.compile with CUDA graphs (mode reduce-overhead)
"""

import time

import torch

from measure import Report, arguments, seconds_of
from network import Network

PARAMETERS = 61_804_419

options = arguments()
report = Report(options)
device = options.device
batch = 2 if options.small else 128
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = True


def training_step(way):
    torch.manual_seed(0)
    network = Network(base=32, blocks=1) if options.small else Network()
    network = network.to(device).train()
    count = sum(p.numel() for p in network.parameters())
    if not options.small and count != PARAMETERS:
        raise SystemExit(f"the network has {count} parameters, the official one {PARAMETERS}")
    fast = way != "official"
    torch.backends.cudnn.benchmark = fast
    if fast:
        network = network.to(memory_format=torch.channels_last)
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    fused = {"fused": True} if fast and device == "cuda" else {}
    optimizer = torch.optim.Adam(parameters, lr=2e-4, **fused)
    model = torch.compile(network, mode="reduce-overhead") if way == "compiled" else network
    data = torch.randn(batch, 3, 32, 32, device=device)
    if fast:
        data = data.to(memory_format=torch.channels_last)

    def step():
        noise = torch.randn_like(data)
        t = torch.rand(batch, device=device) * 0.999 + 0.001
        times = t[:, None, None, None]
        with torch.autocast(device, dtype=torch.bfloat16, enabled=fast):
            velocity = model(times * data + (1 - times) * noise, t * 999)
        loss = (velocity.float() - (data - noise)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            if fast:
                torch._foreach_lerp_(average, parameters, 1 - 0.999999)
            else:
                for shadow, parameter in zip(average, parameters):
                    shadow.sub_((1 - 0.999999) * (shadow - parameter))

    return step


for way in ("autocast", "official", "compiled"):
    if time.monotonic() > options.deadline:
        break
    seconds = seconds_of(training_step(way), device, rounds=2 if options.small else 10)
    report.add(f"{way}_images_per_second", batch / seconds)
    if device == "cuda":
        report.add(f"{way}_gibibytes", torch.cuda.max_memory_allocated() / 2**30)
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.empty_cache()
