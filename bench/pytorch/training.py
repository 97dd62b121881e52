"""One training step of Rectified Flow in PyTorch, as src/run/training/update.ts does it: noise, loss, backward, clip, Adam, moving average."""

import torch

EMA_RATE = 0.999999
TIME_SCALE = 999


def training_step(network, data, autocast=False, foreach=True, fused=False, compiled=False):
    """A function that does one step on the batch `data` [N, C, H, W].

    autocast: products in bf16; foreach: the average in one call instead of a Python loop; fused: Adam in one kernel.
    """
    device = data.device
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=2e-4, fused=fused)
    model = torch.compile(network, mode="reduce-overhead") if compiled else network

    def step():
        noise = torch.randn_like(data)
        t = torch.rand(len(data), device=device) * 0.999 + 0.001
        times = t[:, None, None, None]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
            velocity = model(times * data + (1 - times) * noise, t * TIME_SCALE)
        loss = (velocity.float() - (data - noise)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        update(parameters, optimizer, average, foreach)
        return loss

    return step


def update(parameters, optimizer, average, foreach=True):
    """From the gradients to weights and their moving average."""
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    with torch.no_grad():
        if foreach:
            torch._foreach_lerp_(average, parameters, 1 - EMA_RATE)
        else:
            for shadow, parameter in zip(average, parameters):
                shadow.sub_((1 - EMA_RATE) * (shadow - parameter))
