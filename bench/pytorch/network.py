"""DDPM++ with BigGAN blocks (Score SDE, models/ncsnpp.py) in PyTorch, from its definition; by default the official CIFAR-10 network."""

import math

import torch
from torch import nn
from torch.nn import functional


def norm(channels):
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """(shortcut(x) + conv(dropout(silu(norm(conv(silu(norm(x))) + dense(silu(time))))))) / sqrt 2, resampled before the first conv."""

    def __init__(self, inputs, outputs, embedding, dropout, resample=None):
        super().__init__()
        self.resample = resample
        self.norm1, self.conv1 = norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.dense = nn.Linear(embedding, outputs)
        self.norm2, self.conv2 = norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs or resample else nn.Identity()

    def resampled(self, x):
        if self.resample == "down":
            return functional.avg_pool2d(x, 2)
        return functional.interpolate(x, scale_factor=2.0, mode="nearest") if self.resample == "up" else x

    def forward(self, x, time):
        h = self.conv1(self.resampled(functional.silu(self.norm1(x))))
        h = h + self.dense(functional.silu(time))[:, :, None, None]
        h = self.conv2(self.dropout(functional.silu(self.norm2(h))))
        return (self.shortcut(self.resampled(x)) + h) / math.sqrt(2)


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        # One head as an axis of its own: the fused kernels take tensors of four axes only.
        q, k, v = (layer(h).flatten(2).transpose(1, 2).unsqueeze(1) for layer in (self.q, self.k, self.v))
        h = functional.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2).reshape(x.shape)
        return (x + self.out(h)) / math.sqrt(2)


class Network(nn.Module):
    """Creates its parameters in the order of src/nn/unet.ts."""

    def __init__(
        self, base=128, multipliers=(1, 2, 2, 2), blocks=4, attention=(16,), size=32, dropout=0.15, channels=3
    ):
        super().__init__()
        self.base = base
        embedding = 4 * base
        self.time = nn.Sequential(nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.conv_in = nn.Conv2d(channels, base, 3, padding=1)
        block = lambda i, o, resample=None: ResidualBlock(i, o, embedding, dropout, resample)
        attends = lambda level, width: Attention(width) if size >> level in attention else nn.Identity()
        width, skips = base, [base]
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(nn.ModuleList([block(width, base * multiplier), attends(level, base * multiplier)]))
                width = base * multiplier
                skips.append(width)
            if level < len(multipliers) - 1:
                self.down.append(nn.ModuleList([block(width, width, "down"), nn.Identity()]))
                skips.append(width)
        self.middle = nn.ModuleList([block(width, width), Attention(width), block(width, width)])
        self.up = nn.ModuleList()
        for level in reversed(range(len(multipliers))):
            outputs = base * multipliers[level]
            for i in range(blocks + 1):
                last = attends(level, outputs) if i == blocks else nn.Identity()
                self.up.append(nn.ModuleList([block(width + skips.pop(), outputs), last]))
                width = outputs
            if level > 0:
                self.up.append(nn.ModuleList([block(width, width, "up"), nn.Identity()]))
        self.norm_out, self.conv_out = norm(width), nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x, labels):
        half = self.base // 2
        frequencies = torch.exp(torch.arange(half, device=x.device) * (-math.log(10000) / (half - 1)))
        angles = labels[:, None] * frequencies[None]
        time = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        h = self.conv_in(x)
        skips = [h]
        for block, attention in self.down:
            h = attention(block(h, time))
            skips.append(h)
        first, attention, second = self.middle
        h = second(attention(first(h, time)), time)
        for block, attention in self.up:
            if block.resample is None:
                h = torch.cat([h, skips.pop()], dim=1)
            h = attention(block(h, time))
        return self.conv_out(functional.silu(self.norm_out(h)))
