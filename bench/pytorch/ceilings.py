"""The best rates that PyTorch reaches on the card: a large bf16 product, and copies from memory and from L2."""

import torch

from measure import Report, arguments, seconds_of

options = arguments()
report = Report(options)
device = options.device

n = 256 if options.small else 8192
a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
report.add("matmul_bf16_teraflops", 2 * n**3 / seconds_of(lambda: a @ b, device, repeats=5) / 1e12)

torch.backends.cuda.matmul.allow_tf32 = True
a32, b32 = a.float(), b.float()
report.add("matmul_tf32_teraflops", 2 * n**3 / seconds_of(lambda: a32 @ b32, device, repeats=5) / 1e12)

for name, mebibytes in (("memory", 16 if options.small else 1024), ("L2", 16)):
    size = mebibytes * 2**20
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copies = max(1, 2**28 // size)

    def copy():
        for _ in range(copies):
            target.copy_(source)

    report.add(f"copy_{name}_gigabytes_per_second", 2 * size * copies / seconds_of(copy, device, repeats=2) / 1e9)
