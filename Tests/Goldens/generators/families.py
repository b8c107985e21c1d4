"""Ten steps of training every weight of a tiny model of each family.

`families/<name>.json` has the loss and the gradient norm of every step: AdamW as TRL's SFTTrainer sets it up (see
training.py, whose rows and settings these are), in a loop of our own, because the trainer takes no model with a vision tower
for text alone. For `llama` the loop is compared with the trainer's own run.
"""

import json

import torch

from .models import load
from .training import ACCUMULATION, BATCH, STEPS
from .values import rounded, write

NAMES = [
    "gemma3_vision", "mistral3", "ministral3", "granite", "phi4", "phi4_mini", "olmo2", "olmo3", "gemma2",
    "lfm2", "qwen3_5", "qwen3_moe",
    "qwen3_moe_mixed", "granite4", "gemma4", "gemma4_keys", "gpt_oss", "granitemoe", "lfm3",
]
RATE = 1e-3


def steps_of(model, rows):
    """The log of ten steps: a linear schedule, gradients clipped to norm 1, losses averaged over a step's tokens."""
    trained = [parameter for name, parameter in model.named_parameters() if not is_vision(name)]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    log = []
    for step in range(STEPS):
        batch = rows[step * BATCH * ACCUMULATION : (step + 1) * BATCH * ACCUMULATION]
        count = sum(sum(label != -100 for label in row["labels"][1:]) for row in batch)
        total = 0.0
        for row in batch:
            ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
            loss = torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum") / count
            loss.backward()
            total += loss.item()
        rate = RATE * (1 - step / STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(trained, 1.0).item()
        optimizer.step()
        optimizer.zero_grad()
        log.append({"loss": rounded(total, 9), "grad_norm": rounded(norm, 9), "learning_rate": rounded(rate, 9)})
    return log


def is_vision(name):
    return "vision" in name or "visual" in name or "multi_modal_projector" in name


def make(folder, arguments):
    goldens = folder.parent
    rows = json.loads((goldens / "training" / "rows.json").read_text())
    reference = json.loads((goldens / "training" / "full" / "golden.json").read_text())["steps"]
    for ours, theirs in zip(steps_of(load(goldens / "models" / "llama"), rows), reference, strict=True):
        for key in ("loss", "grad_norm", "learning_rate"):
            if abs(ours[key] - theirs[key]) > 1e-5 * abs(theirs[key]):
                raise AssertionError(f"the trainer has {key} {theirs[key]}, this loop {ours[key]}")
    for name in arguments.names or NAMES:
        log = steps_of(load(goldens / "models" / name), rows)
        write(folder / f"{name}.json", log)
        print(f"{name}: loss {log[0]['loss']} to {log[-1]['loss']}")
