#!/usr/bin/env python3
"""Opens an adapter folder that Swiftlet wrote in PEFT, over the base it was trained on, and compares logits.

    python check_adapter.py BASE ADAPTER LOGITS.json [--tolerance 1e-4]

LOGITS.json holds what Swiftlet computed: {"ids": [...], "logits": [[...], ...]} or {"sequences": [those, ...]}; the
logits are those of every position. Exit status 1 when they differ by more than the tolerance, relative to the largest.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer


def unused_tensors(model, adapter):
    """Tensors of the file that PEFT found no place for: it only warns of them."""
    known = set()
    for name in model.state_dict():
        name = name.replace(".default", "").replace(".modules_to_save", "")
        known.add(name.removesuffix(".weight") if "lora_magnitude_vector" in name else name)
    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        return sorted(set(file.keys()) - known)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("logits", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()

    base = AutoModelForCausalLM.from_pretrained(arguments.base, dtype=torch.float32)
    if (arguments.adapter / "tokenizer.json").exists():  # tokens may have been added
        size = len(AutoTokenizer.from_pretrained(arguments.adapter))
        if size > base.get_input_embeddings().weight.shape[0]:
            base.resize_token_embeddings(size)
    model = PeftModel.from_pretrained(base, arguments.adapter).eval()
    unused = unused_tensors(model, arguments.adapter)
    ours = json.loads(arguments.logits.read_text())
    worst = 0.0
    for sequence in ours.get("sequences", [ours]):
        with torch.no_grad():
            theirs = model(input_ids=torch.tensor([sequence["ids"]])).logits[0]
            plain = base_logits(model, sequence["ids"])
        difference = (torch.tensor(sequence["logits"]) - theirs).abs().max().item() / theirs.abs().max().item()
        effect = (plain - theirs).abs().max().item()
        print(f"{len(theirs)} tokens: relative difference {difference:.3g}; the adapter moves logits by {effect:.3g}")
        worst = max(worst, difference)
    if unused:
        sys.exit(f"PEFT has no place for {len(unused)} tensors of the adapter, such as {unused[0]}")
    if not worst <= arguments.tolerance:
        sys.exit(f"logits differ by {worst:.3g}, more than {arguments.tolerance}")


def base_logits(model, ids):
    with model.disable_adapter():
        return model(input_ids=torch.tensor([ids])).logits[0]


if __name__ == "__main__":
    main()
