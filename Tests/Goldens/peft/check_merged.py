#!/usr/bin/env python3
"""Opens a model folder that Swiftlet wrote in transformers and prints greedy tokens, compared with ours if given.

    python check_merged.py FOLDER (--prompt TEXT | --prompt-ids 1,2,3) [--ours FILE.json] [--tokens 64]

FILE.json is what `swiftlet generate --json` printed for the same prompt: {"ids": [...], ...}. A chat template is not
applied: give the rendered text. Exit status 1 when the tokens differ.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def greedy(model, ids, count):
    """Greedy tokens up to the end token, and the smallest distance between the best and the second-best logit."""
    output = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        repetition_penalty=1.0,
        max_new_tokens=count,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best = torch.cat(output.logits).float().topk(2).values
    return output.sequences[0, len(ids) :].tolist(), (best[:, 0] - best[:, 1]).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt")
    prompt.add_argument("--prompt-ids", type=lambda text: [int(id) for id in text.split(",")])
    parser.add_argument("--ours", type=Path)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()

    # A 16-bit folder is computed in float32, as Swiftlet does.
    model, report = AutoModelForCausalLM.from_pretrained(
        arguments.folder, dtype=torch.float32, output_loading_info=True
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(kind):
            sys.exit(f"{arguments.folder}: {kind.replace('_', ' ')} {sorted(map(str, report[kind]))[:3]}")
    ids = arguments.prompt_ids
    if ids is None:
        tokenizer = AutoTokenizer.from_pretrained(arguments.folder)
        ids = tokenizer(arguments.prompt, add_special_tokens=False).input_ids
    theirs, margins = greedy(model.eval(), ids, arguments.tokens)
    print(json.dumps({"prompt_ids": ids, "ids": theirs}))
    if arguments.ours is None:
        return
    ours = json.loads(arguments.ours.read_text())["ids"][: arguments.tokens]
    end = model.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    if theirs and theirs[-1] in ends and len(ours) == len(theirs) - 1:
        theirs = theirs[:-1]  # whether the end token itself is listed is a matter of taste
    if ours == theirs:
        print(f"all {len(ours)} tokens agree", file=sys.stderr)
        return
    at = next((i for i, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
    margin = f"; the best two logits lie {margins[at]:.3g} apart there" if at < len(margins) else ""
    sys.exit(f"tokens differ from number {at} on: ours {ours[at:][:3]}, theirs {theirs[at:][:3]}{margin}")


if __name__ == "__main__":
    main()
