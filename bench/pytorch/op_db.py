"""Writes the float32 samples of PyTorch's operator database (torch.testing._internal), with outputs and gradients.

Operators of whole numbers, such as bitwise_and, have samples of int32 or int64 instead.

Run by bench/op_db.ts: python op_db.py FOLDER NAME...
A name is that of an operator, or operator:variant. FOLDER gets samples.json and data.bin: a sample is
{op, input, args, kwargs, outputs, cotangents, gradients}; a tensor in it is {"tensor": index into "tensors"}, and tensors are
{dtype, shape, offset} into data.bin. Gradients belong to the tensors of input, args and kwargs, in order; null for one without.
"""

import json
import sys
import types
import unittest

# The database imports expecttest for its own tests only.
stub = types.ModuleType("expecttest")
stub.TestCase = unittest.TestCase
stub.ACCEPT = False
stub.assert_expected_inline = None
sys.modules.setdefault("expecttest", stub)

import torch
from torch.testing._internal.common_methods_invocations import op_db

folder, names = sys.argv[1], sys.argv[2:]
torch.manual_seed(0)
torch.set_num_threads(1)

NUMPY = {torch.float32: "f32", torch.int64: "i32", torch.int32: "i32", torch.bool: "bool", torch.uint8: "u8"}
data = open(f"{folder}/data.bin", "wb")
tensors = []


def store(t):
    """The index of a tensor; int64 becomes int32."""
    if t.dtype not in NUMPY:
        raise TypeError(f"a tensor of {t.dtype}")
    kind = NUMPY[t.dtype]
    plain = t.detach().contiguous()
    if t.dtype == torch.int64:
        if plain.numel() and plain.abs().max() >= 2**31:
            raise TypeError("whole numbers of 64 bits")
        plain = plain.to(torch.int32)
    tensors.append({"dtype": kind, "shape": list(t.shape), "offset": data.tell()})
    raw = plain.numpy(force=True).tobytes()
    data.write(raw + b"\0" * (-len(raw) % 8))
    return {"tensor": len(tensors) - 1}


def tree(value):
    """A sample's argument as JSON."""
    if isinstance(value, torch.Tensor):
        return store(value)
    if isinstance(value, (list, tuple, torch.Size)):
        return [tree(item) for item in value]
    if isinstance(value, dict):
        return {str(key): tree(item) for key, item in value.items()}
    if isinstance(value, slice):
        return {"slice": [tree(value.start), tree(value.stop), tree(value.step)]}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else {"number": str(value)}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value)}
    if isinstance(value, torch.memory_format):
        return {"memory_format": str(value)}
    raise TypeError(f"an argument of {type(value).__name__}")


def leaves(value):
    """The tensors of an argument in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)


def sample_type(info):
    """float32, or whole numbers for an operator that takes no float32."""
    return next(kind for kind in (torch.float32, torch.int32, torch.int64) if kind in info.dtypes)


samples, dropped, operators = [], {}, []
for info in op_db:
    name = info.name + (f":{info.variant_test_name}" if info.variant_test_name else "")
    operators.append(name)
    if name not in names:
        continue
    kind = sample_type(info)
    differentiable = info.supports_autograd and torch.float32 in info.supported_backward_dtypes("cpu") and kind == torch.float32
    for sample in info.sample_inputs("cpu", kind, requires_grad=differentiable):
        torch.manual_seed(0)
        try:
            given = [tree(sample.input), tree(sample.args), tree(sample.kwargs)]
            result = info(sample.input, *sample.args, **sample.kwargs)
            outputs = [t for t in leaves(sample.output_process_fn_grad(result))]
            whole = [t for t in leaves(result)]
            if len(outputs) != len(whole) or any(a.shape != b.shape for a, b in zip(outputs, whole)):
                outputs = whole
            cotangents = [torch.rand_like(t) * 2 - 1 if t.is_floating_point() else None for t in whole]
            inputs = [*leaves(sample.input), *leaves(sample.args), *leaves(sample.kwargs)]
            moving = [t for t in inputs if t.requires_grad]
            reached = [(t, g) for t, g in zip(whole, cotangents) if g is not None and t.requires_grad]
            found = {}
            if moving and reached:
                gradients = torch.autograd.grad([t for t, _ in reached], moving, [g for _, g in reached], allow_unused=True)
                found = {id(t): g for t, g in zip(moving, gradients)}
            samples.append(
                {
                    "op": name,
                    "input": given[0],
                    "args": given[1],
                    "kwargs": given[2],
                    "outputs": [store(t) for t in whole],
                    "cotangents": [store(g) if g is not None else None for g in cotangents],
                    "gradients": [store(found[id(t)]) if found.get(id(t)) is not None else None for t in inputs],
                }
            )
        except TypeError as reason:
            dropped.setdefault(name, []).append(str(reason))

data.close()
with open(f"{folder}/samples.json", "w") as file:
    json.dump({"torch": torch.__version__, "tensors": tensors, "samples": samples, "dropped": dropped, "operators": operators}, file)
