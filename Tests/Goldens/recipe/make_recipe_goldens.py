"""Writes what the recipe's tests compare with.

Run with the pinned reference (TRL 1.16.0, transformers 5.23.0, peft 0.21.2, bitsandbytes 0.50.2, torch 2.15.0):
    python make_recipe_goldens.py
and, to list the keys of earlier recipes, once more with TRL 0.23.1, transformers 4.56.1, peft 0.17:
    python make_recipe_goldens.py old
"""

import dataclasses
import inspect
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent


def default(field):
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        value = field.default
    value = getattr(value, "value", value)
    return value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else None


def keys():
    import peft
    import transformers
    import trl

    found = {}
    for name in ("ScriptArguments", "DatasetMixtureConfig", "ModelConfig", "SFTConfig"):
        found[name] = {f.name: default(f) for f in dataclasses.fields(getattr(trl, name, None) or getattr(trl.scripts, name))}
    found["LoraConfig"] = {f.name: default(f) for f in dataclasses.fields(peft.LoraConfig)}
    parameters = inspect.signature(transformers.BitsAndBytesConfig.__init__).parameters
    found["BitsAndBytesConfig"] = {
        name: parameter.default for name, parameter in parameters.items() if name not in ("self", "kwargs")
    }
    return found


def method_keys():
    """The fields of the configurations of the other trainers."""
    import transformers
    import trl
    from trl.experimental.cpo import CPOConfig
    from trl.experimental.orpo import ORPOConfig

    configurations = {"dpo": trl.DPOConfig, "orpo": ORPOConfig, "cpo": CPOConfig, "kto": trl.KTOConfig, "grpo": trl.GRPOConfig}
    configurations |= {"reward": trl.RewardConfig, "classify": transformers.TrainingArguments}
    return {
        name: {field.name: default(field) for field in dataclasses.fields(configuration)}
        for name, configuration in configurations.items()
    }


def schedules():
    import torch
    from transformers import get_scheduler

    cases = [
        ("linear", 5, 30, {}), ("linear", 0, 7, {}), ("linear", 10, 10, {}),
        ("cosine", 3, 20, {}), ("cosine", 3, 20, {"num_cycles": 1.5}),
        ("cosine_with_restarts", 2, 20, {"num_cycles": 3}), ("cosine_with_restarts", 0, 10, {}),
        ("polynomial", 3, 20, {}), ("polynomial", 3, 20, {"power": 2.0, "lr_end": 1e-5}),
        ("constant", 3, 10, {}), ("constant_with_warmup", 4, 10, {}),
        ("inverse_sqrt", 4, 20, {}), ("inverse_sqrt", 0, 20, {}), ("inverse_sqrt", 4, 20, {"timescale": 50}),
        ("cosine_with_min_lr", 3, 20, {"min_lr": 2e-5}), ("cosine_with_min_lr", 3, 20, {"min_lr_rate": 0.1}),
        ("cosine_warmup_with_min_lr", 3, 20, {"min_lr_rate": 0.1}),
        ("cosine_warmup_with_min_lr", 4, 20, {"min_lr": 1e-5, "warmup_lr_rate": 0.2}),
        ("warmup_stable_decay", 4, 20, {"num_decay_steps": 6}),
        ("warmup_stable_decay", 4, 24, {"num_decay_steps": 6, "num_stable_steps": 8, "min_lr_ratio": 0.1,
                                        "warmup_type": "cosine", "decay_type": "linear"}),
        ("warmup_stable_decay", 4, 20, {"num_decay_steps": 9, "warmup_type": "1-sqrt", "decay_type": "1-sqrt"}),
    ]
    out = []
    for kind, warmup, total, options in cases:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
        schedule = get_scheduler(
            kind, optimizer, num_warmup_steps=warmup, num_training_steps=total, scheduler_specific_kwargs=options
        )
        rates = []
        for _ in range(total + 2):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        out.append({"kind": kind, "warmup": warmup, "total": total, "options": options, "rates": rates})
    return {"peak": 2e-4, "cases": out}


def trainer_state():
    from transformers import TrainerState

    state = TrainerState(epoch=1.0, global_step=4, max_steps=4, logging_steps=2, num_train_epochs=1, train_batch_size=2)
    for step, loss in ((2, 2.5), (4, 2.25)):
        state.log_history.append(
            {"epoch": step / 4, "grad_norm": 1.5, "learning_rate": 2e-5, "loss": loss, "step": step}
        )
    return dataclasses.asdict(state)


def write(name, value):
    (HERE / name).write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


if "old" in sys.argv[1:]:
    write("keys_old.json", keys())
else:
    write("keys.json", keys())
    write("method_keys.json", method_keys())
    write("schedules.json", schedules())
    write("trainer_state.json", trainer_state())
