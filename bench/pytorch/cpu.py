"""PyTorch's side of bench/pytorch_cpu.ts: answers each line of JSON on standard input with one on standard output.

A request has the key `do`, the name of a function of COMMANDS, and its arguments. A workload is opened under a name, run as
often as asked, and closed; the other side (bench/pytorch_cpu/engine.mjs) does the same with the same words.
"""

import argparse
import json
import os
import sys
import time

import torch

from layers import layer_call, layers_of
from network import Network
from text_model import text_call
from training import TIME_SCALE, training_step, update

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
workloads = {}


def build(config):
    """The network of a configuration with the keys of configs/base.ts; network.py supports only the values below."""
    model, data = config["model"], config["data"]
    known = {
        "embedding_type": "positional",
        "resblock_type": "biggan",
        "nonlinearity": "swish",
        "conditional": True,
        "skip_rescale": True,
        "fir": False,
        "scale_by_sigma": False,
        "progressive": "none",
        "progressive_input": "none",
    }
    for key, value in known.items():
        if model[key] != value:
            raise SystemExit(f"network.py has {key} {value} alone, got {model[key]}")
    if not data["centered"]:
        raise SystemExit("network.py takes images in [-1, 1]: data.centered")
    return Network(
        base=model["nf"],
        multipliers=tuple(model["ch_mult"]),
        blocks=model["num_res_blocks"],
        attention=tuple(model["attn_resolutions"]),
        size=data["image_size"],
        dropout=model["dropout"],
        channels=data["num_channels"],
    )


def images(config, batch, memory_format):
    size = config["data"]["image_size"]
    return torch.randn(batch, config["data"]["num_channels"], size, size).to(memory_format=memory_format)


def train(config, batch, layout, autocast):
    network = build(config).to(memory_format=LAYOUTS[layout]).train()
    step = training_step(network, images(config, batch, LAYOUTS[layout]), autocast=autocast, fused=True)
    return timed(lambda: step().item())


def sample(config, batch, layout, autocast, steps):
    """Sampling by Euler steps; the time is that of one evaluation."""
    network = build(config).to(memory_format=LAYOUTS[layout]).eval()
    noise = images(config, batch, LAYOUTS[layout])

    def work():
        x = noise.clone(memory_format=torch.preserve_format)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            for i in range(steps):
                t = torch.full((batch,), i / steps * 0.999 + 0.001)
                x += network(x, t * TIME_SCALE).float() / steps

    run = timed(work)
    return lambda: run() / steps


def layer(shape, batch, layout, backward):
    operands, cotangent, function = layer_call(shape, batch, LAYOUTS[layout])
    if not backward:
        return timed(torch.no_grad()(lambda: function(*operands)))

    def run():
        y = function(*operands)
        return timed(lambda: torch.autograd.grad(y, operands, cotangent))()

    return run


def optimizer(config):
    parameters = list(build(config).parameters())
    adam = torch.optim.Adam(parameters, lr=2e-4, fused=True)
    average = [p.detach().clone() for p in parameters]
    for p in parameters:
        p.grad = torch.randn_like(p)
    return timed(lambda: update(parameters, adam, average))


def text(folder, part, size, **_):
    """A part of text to image, in the faster of both memory layouts."""
    modules, function = text_call(folder, part, size)
    run = timed(torch.inference_mode()(function))

    def seconds_in(layout):
        for module in modules:
            module.to_layout(LAYOUTS[layout])
        run()
        return run()

    first = seconds_in("contiguous")
    if seconds_in("channels_last") > first:
        for module in modules:
            module.to_layout(LAYOUTS["contiguous"])
    return run


def evaluate_text(folder, part, size):
    _, function = text_call(folder, part, size)
    with torch.inference_mode():
        return {"values": function().flatten().tolist()}


def timed(work):
    def run():
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


KINDS = {"train": train, "sample": sample, "layer": layer, "optimizer": optimizer, "text": text}


def open_workload(name, kind, **options):
    torch.manual_seed(0)
    workloads[name] = KINDS[kind](**options)
    return {}


def run_workload(name, calls):
    return {"seconds": [workloads[name]() for _ in range(calls)]}


def close_workload(name):
    del workloads[name]
    return {}


def about():
    return {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "threads": torch.get_num_threads(),
        "bf16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    }


def layers(config):
    data = config["data"]
    return {"layers": layers_of(build(config), data["num_channels"], data["image_size"])}


def evaluate(config, batch, input, output):
    """Velocity and gradients from given weights, in the files and layouts of engine.mjs: concatenated f32 arrays."""
    network = build(config).eval()
    values = torch.frombuffer(bytearray(open(input, "rb").read()), dtype=torch.float32)
    at = 0

    def take(shape):
        """Converts a channels-last array to PyTorch's layout."""
        nonlocal at
        order = [shape[0], *shape[2:], shape[1]] if len(shape) == 4 else list(shape)
        size = torch.Size(order).numel()
        array = values[at : at + size].reshape(order)
        at += size
        return array.permute(0, 3, 1, 2) if len(shape) == 4 else array

    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(take(parameter.shape))
    x = take((batch, config["data"]["num_channels"]) + (config["data"]["image_size"],) * 2).contiguous()
    labels = take((batch,))
    if at != len(values):
        raise SystemExit(f"{len(values)} numbers, but weights, images and labels of this network are {at}")
    velocity = network(x, labels)
    (velocity - x).square().mean().backward()
    arrays = [velocity.detach(), *(p.grad for p in network.parameters())]
    ours = [a.permute(0, 2, 3, 1) if a.dim() == 4 else a for a in arrays]
    with open(output, "wb") as file:
        file.write(torch.cat([a.reshape(-1) for a in ours]).numpy().tobytes())
    return {"parameters": sum(p.numel() for p in network.parameters())}


COMMANDS = {
    "about": about,
    "open": open_workload,
    "run": run_workload,
    "close": close_workload,
    "layers": layers,
    "evaluate": evaluate,
    "evaluate_text": evaluate_text,
}

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=os.cpu_count())
torch.set_num_threads(parser.parse_args().threads)
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(COMMANDS[request.pop("do")](**request)), flush=True)
