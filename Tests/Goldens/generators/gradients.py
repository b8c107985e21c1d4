"""Every element of the gradients of the tiny models, in few numbers: projections on random signs.

`gradients/<name>.json` has, for each parameter of `models/<name>`, the dot products of its gradient with eight vectors of
+1 and -1. A gradient that is off by a vector d changes each of them by about |d|, whichever elements are wrong. The loss
and the sequences are those of `models/<name>/golden.json`. The sign of element i in projection k is bit k of
splitmix64(i).
"""

import json

import numpy as np
import torch

from .models import load, named_gradients
from .values import rounded, write

NAMES = [
    "llama", "llama_tied", "mistral", "qwen2", "qwen3", "phi3", "gemma3_text", "smollm3", "gemma3_vision", "mistral3",
    "ministral3", "granite", "phi4_mini", "olmo2", "olmo3", "gemma2", "lfm2", "qwen3_5", "qwen3_moe",
    "qwen3_moe_mixed", "granite4", "gemma4", "gemma4_keys", "gpt_oss", "granitemoe", "lfm3",
]


def signs(count):
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return [((z >> np.uint64(k)) & np.uint64(1)).astype(np.float64) * 2 - 1 for k in range(8)]


def make(folder, arguments):
    folder.mkdir(exist_ok=True)
    models = folder.parent / "models"
    for name in arguments.names or NAMES:
        model = load(models / name).to(torch.float64)
        sequences = [row["ids"] for row in json.loads((models / name / "golden.json").read_text())["sequences"]]
        count = sum(len(ids) - 1 for ids in sequences)
        for ids in sequences:
            batch = torch.tensor([ids])
            logits = model(input_ids=batch).logits[0, :-1]
            (torch.nn.functional.cross_entropy(logits, batch[0, 1:], reduction="sum") / count).backward()
        golden = {}
        for key, gradient in named_gradients(model):
            gradient = gradient.flatten().numpy()
            golden[key] = {
                "norm": rounded(float(np.linalg.norm(gradient)), 9),
                "projections": [rounded(float(gradient @ sign), 9) for sign in signs(len(gradient))],
            }
        write(folder / f"{name}.json", golden)
