"""Learning-rate schedules of transformers and the optimizers that its trainer takes, on fixed gradients.

`optimizers/schedules.json`: the rate of every step. `optimizers/adamw.json` and `rules.json`: parameters along the way.
"""

import inspect

import bitsandbytes
import torch
from schedulefree import AdamWScheduleFree
from transformers import get_scheduler
from torch.optim import _muon
from transformers.optimization import Adafactor

from .smollm2 import FORMULA, value_by_formula
from .values import rounded, summary, write

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


def muon(parameters, **settings):
    """torch.optim.Muon with its orthogonalization in float32 instead of bfloat16."""
    source = inspect.getsource(_muon._zeropower_via_newtonschulz)
    assert "torch.bfloat16" in source
    exec(source.replace("torch.bfloat16", "torch.float32"), vars(_muon))
    return torch.optim.Muon(parameters, **settings)


ADAMW_RUNS = {
    "defaults": {"lr": 1e-2, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0},
    "weight_decay": {"lr": 1e-2, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1},
    "other_betas": {"lr": 1e-2, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.01},
}
SHAPES = {"weight": (6, 10), "bias": (7,)}
# name -> (optim, optim_args as recipes spell them, class, settings)
LION = {"lr": 1e-3, "betas": [0.9, 0.99], "weight_decay": 0.1}
ADAFACTOR = {"lr": 1e-2, "scale_parameter": False, "relative_step": False}
RULES = {
    "sgd": ("sgd", None, torch.optim.SGD, {"lr": 1e-1, "weight_decay": 0.1}),
    "sgd_momentum": ("sgd", "momentum=0.9, dampening=0.25", torch.optim.SGD,
                     {"lr": 1e-1, "momentum": 0.9, "dampening": 0.25, "weight_decay": 0.01}),
    "sgd_nesterov": ("sgd", "momentum=0.8,nesterov=True", torch.optim.SGD,
                     {"lr": 1e-1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.0}),
    "adafactor": ("adafactor", None, Adafactor, ADAFACTOR | {"weight_decay": 0.0}),
    "adafactor_weight_decay": ("adafactor", None, Adafactor, ADAFACTOR | {"weight_decay": 0.1}),
    "lion": ("lion_32bit", None, bitsandbytes.optim.Lion, LION),
    "muon": ("muon", None, muon, {"lr": 2e-2, "weight_decay": 0.1}),
    "schedule_free": ("schedule_free_adamw", None, AdamWScheduleFree,
                      {"lr": 1e-2, "betas": [0.9, 0.98], "weight_decay": 0.1, "warmup_steps": 5, "foreach": False}),
    "lion_8bit": ("lion_8bit", None, bitsandbytes.optim.Lion, LION | {"optim_bits": 8}),
}
MATRICES = {"wide": (6, 10), "tall": (10, 6)}
LARGE = {"ragged": (33, 130)}  # only tensors of 4096 elements and more are held in 8 bits


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


def run(kind, settings, shapes=SHAPES):
    parameters = {name: torch.nn.Parameter(value_by_formula(name, shape, 1.0)) for name, shape in shapes.items()}
    optimizer = kind(parameters.values(), **settings)
    averages = isinstance(optimizer, AdamWScheduleFree)
    states = []
    for step in range(1, 21):
        if averages:
            optimizer.train()
        for name, parameter in parameters.items():
            parameter.grad = value_by_formula(f"{name} {step}", parameter.shape, 0.1 / step)
        optimizer.step()
        if step == 1 or step % 5 == 0:
            if averages:
                optimizer.eval()  # to the weights that are evaluated, for the goldens and back for the next step
            states.append({"step": step} | {
                name: summary(value) if shapes is LARGE else rounded(value.flatten(), 9)
                for name, value in parameters.items()
            })
    return {"settings": settings, "states": states}


def adamw(settings):
    return run(torch.optim.AdamW, settings | {"foreach": False, "fused": False}) | {"settings": settings}


def rule(optim, arguments, kind, settings):
    shapes = LARGE if settings.get("optim_bits") == 8 else MATRICES if optim == "muon" else SHAPES
    return {"optim": optim, "optim_args": arguments, "shapes": shapes} | run(kind, settings, shapes)


def make(folder, arguments):
    names = arguments.names or ["schedules", "adamw", "rules"]
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
    if "rules" in names:
        write(folder / "rules.json", {
            "parameter": "formula(name, scale 1.0)",
            "gradient": "formula(name + ' ' + step, scale 0.1 / step), step from 1",
            "runs": {name: rule(*entry) for name, entry in RULES.items()},
        })
        print(f"rules: {len(RULES)} runs")
