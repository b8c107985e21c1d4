#!/usr/bin/env python3
"""Which tokens transformers' logits processors leave, and how likely each is.

    python make_goldens.py

`goldens.json`: logits, the ids said before, and for each case the settings and the surviving ids with probabilities.
"""

import json
from pathlib import Path

import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

# In the order in which generate() applies them.
PROCESSORS = {
    "repetition_penalty": RepetitionPenaltyLogitsProcessor,
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
}
CASES = [
    {"temperature": 1.0},
    {"temperature": 0.7},
    {"temperature": 0.7, "top_k": 5},
    {"temperature": 1.0, "top_k": 9},  # two tokens share the ninth place
    {"temperature": 1.5, "top_p": 0.8},
    {"temperature": 1.0, "top_p": 0.05},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.8},
    {"temperature": 1.2, "top_k": 12, "top_p": 0.9, "min_p": 0.2},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.8},
]


def main():
    torch.manual_seed(0)
    logits = (torch.randn(32) * 2).round(decimals=3)
    logits[logits.argsort(descending=True)[9]] = logits.sort(descending=True).values[8]
    said = logits.argsort(descending=True)[[0, 3, 20, 30]].tolist()
    cases = []
    for settings in CASES:
        processors = LogitsProcessorList(
            processor(settings[name])
            for name, processor in PROCESSORS.items()
            if name in settings and not (name == "temperature" and settings[name] == 1.0)
        )
        left = processors(torch.tensor([said]), logits[None].clone())[0].softmax(-1)
        ids = [index for index in range(len(left)) if left[index] > 0]
        cases.append({"settings": settings, "ids": ids, "probabilities": [float(f"{left[i]:.8g}") for i in ids]})
    golden = {"logits": [float(f"{value:.8g}") for value in logits], "said": said, "cases": cases}
    Path(__file__).with_name("goldens.json").write_text(json.dumps(golden) + "\n")


main()
