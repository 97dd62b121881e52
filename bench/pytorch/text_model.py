"""The network and the decoder of Stable Diffusion 1 in plain PyTorch, by the names of a diffusers folder: what `rectiflow text` is
compared with. Attention is scaled_dot_product_attention; nothing but torch is needed.
"""

import json
import math
import mmap
import os
from glob import glob

import torch
import torch.nn.functional as F

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


def read_weights(folder, prefix=""):
    """All tensors of the safetensors files of a folder whose names begin with `prefix`, as f32."""
    weights = {}
    for path in sorted(glob(os.path.join(folder, "*.safetensors"))):
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for name, entry in header.items():
            if name == "__metadata__" or not name.startswith(prefix):
                continue
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            flat = torch.frombuffer(bytearray(whole[begin:end]), dtype=DTYPES[entry["dtype"]])
            weights[name] = flat.reshape(entry["shape"]).float()
    return weights


class Layers:
    """Functions of a network whose weights are in a dictionary."""

    def __init__(self, folder, prefix=""):
        with open(os.path.join(folder, "config.json")) as file:
            self.config = json.load(file)
        self.weights = read_weights(folder, prefix)
        self.groups = self.config.get("norm_num_groups", 32)

    def to_layout(self, memory_format):
        for name, weight in self.weights.items():
            if weight.dim() == 4:
                self.weights[name] = weight.contiguous(memory_format=memory_format)

    def has(self, name):
        return name + ".weight" in self.weights

    def of(self, name):
        return self.weights[name + ".weight"], self.weights.get(name + ".bias")

    def conv(self, name, x, stride=1, padding=1):
        return F.conv2d(x, *self.of(name), stride, padding)

    def linear(self, name, x):
        return F.linear(x, *self.of(name))

    def group_norm(self, name, x, eps):
        return F.group_norm(x, self.groups, *self.of(name), eps)

    def layer_norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], *self.of(name))

    def resnet(self, name, x, eps, time=None):
        h = self.conv(name + ".conv1", F.silu(self.group_norm(name + ".norm1", x, eps)))
        if time is not None:
            h = h + self.linear(name + ".time_emb_proj", time)[:, :, None, None]
        h = self.conv(name + ".conv2", F.silu(self.group_norm(name + ".norm2", h, eps)))
        return h + (self.conv(name + ".conv_shortcut", x, padding=0) if self.has(name + ".conv_shortcut") else x)

    def attention(self, name, x, context, heads):
        def split(t):
            return t.unflatten(-1, (heads, -1)).transpose(1, 2)

        q = split(self.linear(name + ".to_q", x))
        k, v = (split(self.linear(f"{name}.{part}", context)) for part in ("to_k", "to_v"))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.linear(name + ".to_out.0", y)

    def upsample(self, name, x):
        return self.conv(name + ".conv", F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Network(Layers):
    """v(x, tau, text) of UNet2DConditionModel."""

    def __init__(self, folder):
        super().__init__(folder)
        heads = self.config["attention_head_dim"]
        levels = len(self.config["block_out_channels"])
        self.heads = heads if isinstance(heads, list) else [heads] * levels

    def transformer(self, name, x, text, heads):
        n, c, height, width = x.shape
        h = self.conv(name + ".proj_in", self.group_norm(name + ".norm", x, 1e-6), padding=0)
        h = h.permute(0, 2, 3, 1).reshape(n, height * width, c)
        block = name + ".transformer_blocks.0"
        normed = self.layer_norm(block + ".norm1", h)
        h = h + self.attention(block + ".attn1", normed, normed, heads)
        h = h + self.attention(block + ".attn2", self.layer_norm(block + ".norm2", h), text, heads)
        value, gate = self.linear(block + ".ff.net.0.proj", self.layer_norm(block + ".norm3", h)).chunk(2, -1)
        h = h + self.linear(block + ".ff.net.2", value * F.gelu(gate))
        h = h.reshape(n, height, width, c).permute(0, 3, 1, 2)
        return self.conv(name + ".proj_out", h, padding=0) + x

    def __call__(self, x, tau, text):
        channels, layers = self.config["block_out_channels"], self.config["layers_per_block"]
        half = channels[0] // 2
        angles = tau[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)
        time = self.linear("time_embedding.linear_1", torch.cat([angles.cos(), angles.sin()], -1))
        time = F.silu(self.linear("time_embedding.linear_2", F.silu(time)))
        h = self.conv("conv_in", x)
        skips = [h]
        for level in range(len(channels)):
            block = f"down_blocks.{level}"
            for i in range(layers):
                h = self.layer(block, i, h, time, text, self.heads[level])
                skips.append(h)
            if self.has(block + ".downsamplers.0.conv"):
                h = self.conv(block + ".downsamplers.0.conv", h, stride=2)
                skips.append(h)
        h = self.resnet("mid_block.resnets.0", h, 1e-5, time)
        h = self.transformer("mid_block.attentions.0", h, text, self.heads[-1])
        h = self.resnet("mid_block.resnets.1", h, 1e-5, time)
        for level in range(len(channels)):
            block = f"up_blocks.{level}"
            for i in range(layers + 1):
                h = self.layer(block, i, torch.cat([h, skips.pop()], 1), time, text, self.heads[-1 - level])
            if self.has(block + ".upsamplers.0.conv"):
                h = self.upsample(block + ".upsamplers.0", h)
        return self.conv("conv_out", F.silu(self.group_norm("conv_norm_out", h, 1e-5)))

    def layer(self, block, i, h, time, text, heads):
        h = self.resnet(f"{block}.resnets.{i}", h, 1e-5, time)
        name = f"{block}.attentions.{i}"
        return self.transformer(name, h, text, heads) if self.has(name + ".proj_in") else h


class Decoder(Layers):
    """The decoder of AutoencoderKL, of latents as the flow has them."""

    def __init__(self, folder):
        super().__init__(folder)
        for name in [name for name in self.weights if name.startswith(("encoder.", "quant_conv."))]:
            del self.weights[name]

    def middle(self, name, x):
        n, c, height, width = x.shape
        h = self.group_norm(name + ".group_norm", x, 1e-6).permute(0, 2, 3, 1).reshape(n, height * width, c)
        h = self.attention(name, h, h, 1)
        return x + h.reshape(n, height, width, c).permute(0, 3, 1, 2)

    def __call__(self, z):
        z = self.conv("post_quant_conv", z / self.config.get("scaling_factor", 0.18215), padding=0)
        h = self.conv("decoder.conv_in", z)
        h = self.resnet("decoder.mid_block.resnets.0", h, 1e-6)
        h = self.middle("decoder.mid_block.attentions.0", h)
        h = self.resnet("decoder.mid_block.resnets.1", h, 1e-6)
        for level in range(len(self.config["block_out_channels"])):
            block = f"decoder.up_blocks.{level}"
            for i in range(self.config["layers_per_block"] + 1):
                h = self.resnet(f"{block}.resnets.{i}", h, 1e-6)
            if self.has(block + ".upsamplers.0.conv"):
                h = self.upsample(block + ".upsamplers.0", h)
        return self.conv("decoder.conv_out", F.silu(self.group_norm("decoder.conv_norm_out", h, 1e-6)))


def waves(*shape):
    """sin(i + 1) for element i in PyTorch's order, computed in double."""
    size = math.prod(shape)
    return torch.sin(torch.arange(1, size + 1, dtype=torch.float64)).float().reshape(shape)


def text_call(folder, part, size):
    """The modules and a function for `network`, `decoder` or `picture` (one step, then the decoder) of size x size latents."""
    network = None if part == "decoder" else Network(os.path.join(folder, "unet"))
    decoder = None if part == "network" else Decoder(os.path.join(folder, "vae"))
    width = network.config["cross_attention_dim"] if network else 0
    x, text = waves(1, 4, size, size), waves(1, 77, width)
    tau = torch.tensor([1000.0])

    def function():
        z = x if network is None else network(x, tau, text)
        if part == "network":
            return z
        return decoder(z if network is None else x + z)

    return [module for module in (network, decoder) if module], function
