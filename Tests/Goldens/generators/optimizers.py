"""Learning-rate schedules of transformers and torch's AdamW on fixed gradients.

`optimizers/schedules.json`: the rate of every step. `optimizers/adamw.json`: parameters along the way.
"""

import torch
from transformers import get_scheduler

from .smollm2 import FORMULA, value_by_formula
from .values import rounded, write

RATE, STEPS = 1e-3, 50
# (lr_scheduler_type, warmup_steps, lr_scheduler_kwargs)
SCHEDULES = [
    ("linear", 0, {}),
    ("linear", 5, {}),
    ("cosine", 0, {}),
    ("cosine", 5, {}),
    ("cosine", 5, {"num_cycles": 1.25}),
    ("cosine_with_restarts", 5, {}),
    ("cosine_with_restarts", 5, {"num_cycles": 3}),
    ("cosine_with_min_lr", 5, {"min_lr": 1e-4}),
    ("cosine_with_min_lr", 5, {"min_lr_rate": 0.2}),
    ("polynomial", 5, {}),
    ("polynomial", 5, {"lr_end": 1e-5, "power": 2.0}),
    ("constant", 0, {}),
    ("constant", 5, {}),  # transformers takes no notice of the warm-up
    ("constant_with_warmup", 5, {}),
    ("inverse_sqrt", 5, {}),
    ("inverse_sqrt", 5, {"timescale": 20}),
    ("warmup_stable_decay", 5, {"num_decay_steps": 10}),
    ("warmup_stable_decay", 5, {"num_decay_steps": 10, "decay_type": "linear", "min_lr_ratio": 0.1}),
    ("warmup_stable_decay", 5, {"num_decay_steps": 15, "decay_type": "1-sqrt", "warmup_type": "cosine"}),
]
ADAMW_RUNS = {
    "defaults": {"lr": 1e-2, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0},
    "weight_decay": {"lr": 1e-2, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1},
    "other_betas": {"lr": 1e-2, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.01},
}
SHAPES = {"weight": (6, 10), "bias": (7,)}


def schedule(name, warmup, settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = get_scheduler(name, optimizer, warmup, STEPS, scheduler_specific_kwargs=dict(settings))
    rates = []
    for _ in range(STEPS):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return {
        "lr_scheduler_type": name,
        "warmup_steps": warmup,
        "lr_scheduler_kwargs": settings,
        "rates": rounded(rates, 12),
    }


def adamw(settings):
    parameters = {name: torch.nn.Parameter(value_by_formula(name, shape, 1.0)) for name, shape in SHAPES.items()}
    optimizer = torch.optim.AdamW(parameters.values(), foreach=False, fused=False, **settings)
    states = []
    for step in range(1, 21):
        for name, parameter in parameters.items():
            parameter.grad = value_by_formula(f"{name} {step}", parameter.shape, 0.1 / step)
        optimizer.step()
        if step == 1 or step % 5 == 0:
            states.append({"step": step} | {name: rounded(value.flatten(), 9) for name, value in parameters.items()})
    return {"settings": settings, "states": states}


def make(folder, arguments):
    names = arguments.names or ["schedules", "adamw"]
    if "schedules" in names:
        entries = [schedule(*entry) for entry in SCHEDULES]
        write(folder / "schedules.json", {"learning_rate": RATE, "max_steps": STEPS, "schedules": entries})
        print(f"schedules: {len(entries)}")
    if "adamw" in names:
        write(folder / "adamw.json", {
            "formula": FORMULA["value"],
            "i": FORMULA["i"],
            "parameter": "formula(name, scale 1.0)",
            "gradient": "formula(name + ' ' + step, scale 0.1 / step), step from 1",
            "shapes": SHAPES,
            "runs": {name: adamw(settings) for name, settings in ADAMW_RUNS.items()},
        })
        print(f"adamw: {len(ADAMW_RUNS)} runs")
