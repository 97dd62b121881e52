"""Shared by the scripts next to this file: time on a device, and one line of JSON after each measurement."""

import argparse
import json
import time

import torch


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120, help="nothing is begun after this time")
    parser.add_argument("--device", default="cuda", help="cpu: only to see that the script runs")
    parser.add_argument("--small", action="store_true", help="sizes for the CPU")
    options = parser.parse_args()
    options.deadline = time.monotonic() + options.seconds
    return options


class Report:
    """Prints all values so far after each measurement, so that a stopped script has printed its results."""

    def __init__(self, options):
        name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
        self.detail = f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {name}"
        self.values = {}

    def add(self, name, value):
        self.values[name] = value
        print(json.dumps({"detail": self.detail, "values": self.values}), flush=True)


def seconds_of(work, device, rounds=10, warm=3, repeats=1):
    """Median over several rounds, by the device's own clock if it has one.

    repeats: on a card, how often the work is repeated in one CUDA graph; 1 runs it as it is, without a graph. Small
    kernels need repeats, because the launches of Python take longer than they do.
    """
    for _ in range(warm):
        work()
    samples = []
    if device == "cuda" and repeats > 1:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(repeats):
                work()
        work = graph.replay
        work()
    else:
        repeats = 1
    for _ in range(rounds):
        if device == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            work()
            end.record()
            end.synchronize()
            samples.append(start.elapsed_time(end) / 1e3)
        else:
            start = time.perf_counter()
            work()
            samples.append(time.perf_counter() - start)
    return sorted(samples)[rounds // 2] / repeats
