#!/usr/bin/env python3
"""Opens a 4-bit folder that Swiftlet wrote in transformers with bitsandbytes.

    python check_quantized.py FOLDER [--base FOLDER] [--prompt TEXT | --prompt-ids 1,2,3] [--ours FILE.json] [--tokens 48]

Loads the folder and says which linear layers are 4-bit. With --base, quantizes that model on loading with the same
settings and compares codes and statistics to the bit: what `swiftlet merge --save-method merged_4bit` writes without an
adapter. With a prompt, prints greedy tokens, compared with FILE.json, what `swiftlet generate --json` printed. Exit
status 1 when something differs.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

torch.set_num_threads(1)  # the mean of scales is a sum, whose order depends on the threads


def packed(model):
    """Codes and statistics of every 4-bit layer."""
    found = {}
    for name, module in model.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            found[name] = {"weight": module.weight.data} | {
                key: value for key, value in state.as_dict().items() if key not in ("dtype", "shape")
            }
    return found


def compare(ours, theirs):
    if ours.keys() != theirs.keys():
        sys.exit(f"other layers are quantized: {sorted(ours.keys() ^ theirs.keys())[:3]}")
    for layer, parts in theirs.items():
        for key, value in parts.items():
            mine = ours[layer][key]
            same = torch.equal(mine, value) if isinstance(value, torch.Tensor) else mine == value
            if not same:
                sys.exit(f"{layer}: {key} differs")
    print(f"codes and statistics of {len(theirs)} layers are equal", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--prompt")
    parser.add_argument("--prompt-ids", type=lambda text: [int(id) for id in text.split(",")])
    parser.add_argument("--ours", type=Path)
    parser.add_argument("--tokens", type=int, default=48)
    arguments = parser.parse_args()

    model, report = AutoModelForCausalLM.from_pretrained(
        arguments.folder, dtype=torch.float32, device_map="cpu", output_loading_info=True
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(kind):
            sys.exit(f"{arguments.folder}: {kind.replace('_', ' ')} {sorted(map(str, report[kind]))[:3]}")
    for module in model.modules():
        # Where the processor has bfloat16 products, generating would take these; Swiftlet computes in float32.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    ours = packed(model.eval())
    print(f"{len(ours)} layers are 4-bit", file=sys.stderr)
    if arguments.base:
        settings = json.loads((arguments.folder / "config.json").read_text())["quantization_config"]
        keys = ("bnb_4bit_quant_type", "bnb_4bit_use_double_quant", "llm_int8_skip_modules")
        configuration = BitsAndBytesConfig(load_in_4bit=True, **{key: settings[key] for key in keys})
        base = AutoModelForCausalLM.from_pretrained(
            arguments.base, quantization_config=configuration, device_map="cpu", dtype="auto"
        )
        compare(ours, packed(base))
    ids = arguments.prompt_ids
    if ids is None and arguments.prompt is not None:
        ids = AutoTokenizer.from_pretrained(arguments.folder)(arguments.prompt, add_special_tokens=False).input_ids
    if ids is None:
        return
    output = model.generate(
        input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
        repetition_penalty=1.0, max_new_tokens=arguments.tokens,
    )
    theirs = output[0, len(ids):].tolist()
    print(json.dumps({"prompt_ids": ids, "ids": theirs}))
    if arguments.ours:
        mine = json.loads(arguments.ours.read_text())["ids"][: arguments.tokens]
        length = min(len(mine), len(theirs))
        if mine[:length] != theirs[:length] or length == 0:
            sys.exit(f"tokens differ: ours {mine}, theirs {theirs}")
        print(f"all {length} tokens agree", file=sys.stderr)


if __name__ == "__main__":
    main()
