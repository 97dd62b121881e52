# Makes test/golden/optimizers.json: 20 steps of every optimiser, and the learning rates of every schedule.
#   pip install torch numpy
#   python bench/pytorch/optimizers.py test/golden/optimizers.json
# SGD, Adam and AdamW are those of torch.optim, the schedules those of torch.optim.lr_scheduler. Lion is written from its paper (Chen et
# al. 2023, algorithm 2), Muon from its reference implementation (github.com/KellerJordan/Muon, muon.py), both in NumPy. All compute in
# float64. Values are a formula, so that only results are stored: element i, counted over all parameters, starts at sin(i + 1), and its
# gradient in step s is cos(3 s + i) + p / 2, where p is its value. Weights of convolutions are [Cout, kh, kw, Cin].
import json
import sys

import numpy as np
import torch

STEPS = 20
SHAPES = {"wide": (4, 6), "bias": (5,), "conv": (3, 2, 2, 5), "tall": (9, 2)}
SIZES = [int(np.prod(shape)) for shape in SHAPES.values()]
STARTS = np.cumsum([0, *SIZES])

CASES = {
    "SGD": ("SGD", {"learningRate": 0.05}),
    "SGD with momentum": (
        "SGD",
        {"learningRate": 0.05, "momentum": 0.9, "dampening": 0.1, "weightDecay": 0.01},
    ),
    "SGD with Nesterov": (
        "SGD",
        {"learningRate": 0.05, "momentum": 0.9, "nesterov": True, "weightDecay": 0.01},
    ),
    "Adam": ("Adam", {"learningRate": 0.01, "weightDecay": 0.01}),
    "AdamW": ("AdamW", {"learningRate": 0.01, "beta2": 0.99, "weightDecay": 0.1}),
    "AdamW with groups": (
        "AdamW",
        {
            "learningRate": 0.01,
            "weightDecay": 0.1,
            "groups": [
                {"parameters": ["bias"], "weightDecay": 0},
                {"parameters": ["wide", "conv"], "learningRate": 0.03, "beta1": 0.8},
            ],
        },
    ),
    "Lion": ("Lion", {"learningRate": 0.01, "weightDecay": 0.1}),
    "Muon": ("Muon", {"weightDecay": 0.1}),
    "Muon without Nesterov": (
        "Muon",
        {"learningRate": 0.01, "nesterov": False, "momentum": 0.9, "adamLearningRate": 0.01},
    ),
}


def gradient(step, p):
    return np.cos(3 * step + np.arange(len(p))) + p / 2


def parts(flat):
    return {name: flat[STARTS[k] : STARTS[k + 1]].reshape(shape) for k, (name, shape) in enumerate(SHAPES.items())}


def with_torch(optimizer, options):
    """torch.optim, with the options under its names."""
    names = {
        "learningRate": "lr",
        "weightDecay": "weight_decay",
        "momentum": "momentum",
        "dampening": "dampening",
        "nesterov": "nesterov",
    }

    def own(given):
        betas = (given.get("beta1", options.get("beta1", 0.9)), given.get("beta2", options.get("beta2", 0.999)))
        named = {names[key]: value for key, value in given.items() if key in names}
        return named if optimizer == "SGD" else {**named, "betas": betas}

    parameters = {name: torch.tensor(p.copy()) for name, p in parts(np.sin(np.arange(STARTS[-1]) + 1.0)).items()}
    groups = options.get("groups", [])
    grouped = [name for group in groups for name in group["parameters"]]
    rest = [p for name, p in parameters.items() if name not in grouped]
    torch_groups = [{"params": rest}]
    torch_groups += [{"params": [parameters[name] for name in group["parameters"]], **own(group)} for group in groups]
    update = getattr(torch.optim, optimizer)(torch_groups, **own(options))
    for step in range(STEPS):
        flat = np.concatenate([p.numpy().ravel() for p in parameters.values()])
        for p, g in zip(parameters.values(), parts(gradient(step, flat)).values()):
            p.grad = torch.tensor(g)
        update.step()
    return np.concatenate([p.numpy().ravel() for p in parameters.values()])


def lion(options):
    rate, decay = options["learningRate"], options["weightDecay"]
    beta1, beta2 = 0.9, 0.99
    p = np.sin(np.arange(STARTS[-1]) + 1.0)
    m = np.zeros_like(p)
    for step in range(STEPS):
        g = gradient(step, p)
        c = beta1 * m + (1 - beta1) * g
        p = p - rate * (np.sign(c) + decay * p)
        m = beta2 * m + (1 - beta2) * g
    return p


def orthogonal(x):
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def muon(options):
    rate, decay = options.get("learningRate", 0.02), options.get("weightDecay", 0)
    momentum, nesterov = options.get("momentum", 0.95), options.get("nesterov", True)
    adam_rate, beta1, beta2, epsilon = options.get("adamLearningRate", 3e-4), 0.9, 0.95, 1e-10
    p = parts(np.sin(np.arange(STARTS[-1]) + 1.0))
    m = {name: np.zeros_like(value) for name, value in p.items()}
    v = {name: np.zeros_like(value) for name, value in p.items()}
    for step in range(STEPS):
        flat = np.concatenate([value.ravel() for value in p.values()])
        for name, g in parts(gradient(step, flat)).items():
            if g.ndim >= 2:
                m[name] = momentum * m[name] + (1 - momentum) * g
                d = momentum * m[name] + (1 - momentum) * g if nesterov else m[name]
                matrix = d.reshape(len(d), -1)
                update = orthogonal(matrix) * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
                p[name] = p[name] * (1 - rate * decay) - rate * update.reshape(g.shape)
            else:
                m[name] = beta1 * m[name] + (1 - beta1) * g
                v[name] = beta2 * v[name] + (1 - beta2) * g * g
                corrected = m[name] / (1 - beta1 ** (step + 1))
                root = np.sqrt(v[name] / (1 - beta2 ** (step + 1)))
                p[name] = p[name] * (1 - adam_rate * decay) - adam_rate * corrected / (root + epsilon)
    return np.concatenate([value.ravel() for value in p.values()])


def rates(make, steps=30):
    """The learning rates of a scheduler of torch, at its first steps."""
    update = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule = make(update)
    found = []
    for _ in range(steps):
        found.append(update.param_groups[0]["lr"])
        update.step()
        schedule.step()
    return found


def schedules():
    of = torch.optim.lr_scheduler
    return {
        "constantSchedule": {"options": {}, "rates": rates(lambda u: of.ConstantLR(u, factor=1))},
        "linearSchedule": {
            "options": {"steps": 20, "end": 0.02},
            "rates": rates(lambda u: of.LinearLR(u, start_factor=1, end_factor=0.2, total_iters=20)),
        },
        "cosineSchedule": {
            "options": {"steps": 29, "end": 0.01},
            "rates": rates(lambda u: of.CosineAnnealingLR(u, T_max=29, eta_min=0.01)),
        },
        "stepSchedule": {
            "options": {"every": 7, "factor": 0.5},
            "rates": rates(lambda u: of.StepLR(u, step_size=7, gamma=0.5)),
        },
    }


def main():
    cases = {}
    for name, (optimizer, options) in CASES.items():
        own = {"Lion": lion, "Muon": muon}.get(optimizer)
        ends = own(options) if own else with_torch(optimizer, options)
        cases[name] = {"optimizer": optimizer, "options": options, "ends": [round(float(end), 9) for end in ends]}
    of_rates = schedules()
    for schedule in of_rates.values():
        schedule["rates"] = [round(rate, 12) for rate in schedule["rates"]]
    made = {"torch": torch.__version__, "steps": STEPS, "shapes": SHAPES, "cases": cases, "schedules": of_rates}
    with open(sys.argv[1], "w") as file:
        file.write("{\n")
        lines = [f'  "{key}": {json.dumps(made[key])}' for key in ("torch", "steps", "shapes")]
        for key in ("cases", "schedules"):
            inner = ",\n".join(f'    "{name}": {json.dumps(one)}' for name, one in made[key].items())
            lines.append(f'  "{key}": {{\n{inner}\n  }}')
        file.write(",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
