#!/usr/bin/env python3
"""Trains an adapter over the tiny model of each family with Swiftlet, merges it, and opens both in PEFT and transformers.

    python check_families.py [--swiftlet ../../../.build/release/swiftlet] [NAME ...]

NAMEs are folders of ../models. LoRA has two steps on all linears; for mixtures of experts also on the experts' parameters.
Prints how far the log-probabilities of the golden's tokens are from PEFT's with the adapter, how far those of the merged model
(float32) are from transformers', how far these two are apart in PEFT and transformers, and what the adapter changes: the
largest differences, relative to the largest log-probability. Exit status 1 if one of the first three is above 1e-5, or if a
file has tensors that PEFT or transformers has no place for.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from check_adapter import unused_tensors

GOLDENS = Path(__file__).resolve().parent.parent
EXPERTS = {
    name: ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"] for name in ("qwen3_moe", "qwen3_moe_mixed", "gpt_oss")
} | {"granitemoe": ["block_sparse_moe.experts.gate_up_proj", "block_sparse_moe.experts.down_proj"]}


def opened(folder):
    """The model in transformers, in the class that its configuration names."""
    names = json.loads((folder / "config.json").read_text())["architectures"]
    kind = AutoModelForImageTextToText if names[0].endswith("ForConditionalGeneration") else AutoModelForCausalLM
    model, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(key):
            raise RuntimeError(f"{folder}: {key} {sorted(map(str, report[key]))[:3]}")
    return model.eval()


def log_probabilities(model, rows):
    found = []
    for ids in rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0].double()
        found.append(logits.log_softmax(-1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0])
    return torch.cat(found)


def check(name, swiftlet, folder, targets):
    """The errors of the adapter and of the merged model, and what the adapter changes."""
    base, adapter, merged = folder / "base", folder / "adapter", folder / "merged"
    shutil.copytree(GOLDENS / "models" / name, base, ignore=shutil.ignore_patterns("*.gguf", "golden.json", "config_before*"))
    for path in (GOLDENS / "models" / "tokenizer").iterdir():
        shutil.copy(path, base)
    rows = [row["ids"] for row in json.loads((GOLDENS / "models" / name / "golden.json").read_text())["sequences"]]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps({"input_ids": ids}) + "\n" for ids in rows))

    def run(*words):
        done = subprocess.run([swiftlet, *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout

    def ours(*words):
        rows = json.loads(run("eval", "--data", data, "--max-length", 0, "--json", "--logprobs", *words))["rows"]
        return torch.tensor([value for row in rows for value in row["logprobs"] if value is not None], dtype=torch.float64)

    run("sft", "--model_name_or_path", base, "--dataset_name", data, "--output_dir", adapter, "--use_peft", "--lora_r", 4,
        "--learning_rate", 0.005, "--lr_scheduler_type", "constant", "--max_steps", 2, "--save_strategy", "no", *targets)
    run("merge", "--model", base, "--adapter", adapter, "--output", merged, "--save-method", "merged_32bit")
    model = PeftModel.from_pretrained(opened(base), adapter).eval()
    if unused := unused_tensors(model, adapter):
        raise RuntimeError(f"PEFT has no place for {unused[0]}")
    with model.disable_adapter():
        plain = log_probabilities(model, rows)
    theirs, merged_theirs = log_probabilities(model, rows), log_probabilities(opened(merged), rows)
    scale = theirs.abs().max()
    return [((a - b).abs().max() / scale).item() for a, b in (
        (ours("--model", base, "--adapter", adapter), theirs), (ours("--model", merged), merged_theirs),
        (merged_theirs, theirs), (plain, theirs))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--swiftlet", default=str(GOLDENS.parent.parent / ".build/release/swiftlet"))
    call = parser.parse_args()
    names = call.names or sorted(path.parent.name for path in GOLDENS.glob("models/*/golden.json")
                                 if (path.parent / "model.safetensors").exists())
    failures = 0
    for name in names:
        kinds = {"all linears": ["--lora_target_modules", "all-linear"]}
        if name == "qwen3_moe_mixed":  # PEFT takes the names of its dense MLPs for those of experts.
            kinds = {"attention": ["--lora_target_modules", "q_proj", "k_proj", "v_proj", "o_proj"]}
        if name in EXPERTS:
            kinds["experts"] = ["--lora_target_parameters", *EXPERTS[name], "--lora_dropout", "0"]
        for kind, targets in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                try:
                    *errors, effect = check(name, call.swiftlet, Path(folder), targets)
                    print(f"{name}, {kind}: adapter {errors[0]:.1e}, merged {errors[1]:.1e}, merged and PEFT {errors[2]:.1e}; "
                          f"effect {effect:.1e}", flush=True)
                    failures += max(errors) > 1e-5
                except (RuntimeError, ValueError) as error:
                    print(f"{name}, {kind}: {error}", flush=True)
                    failures += 1
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
