#!/usr/bin/env python3
"""Compares the learning rate that `sft --find-learning-rate` suggests with the best of a grid of seven, on the examples.

    python3 Benchmarks/compare/learning_rates.py MODEL.gguf [--examples cantonese yoda] [--epochs N] [--swiftlet PATH]

Each example is trained once with the suggested rate and once with each of the grid, for as long as its recipe says or --epochs
epochs, and the final validation losses are compared. Examples without a validation set keep back a fifth of their rows. All
train over MODEL in the type that it is stored in, so yoda without its quantization to NF4. Prints a table, and one JSON object
for each example.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPLIT = ["--test_split_size", "0.2"]
# What differs from the recipe.
EXAMPLES = {
    "cantonese": [],
    "assistant": SPLIT,
    "medical-reasoning": SPLIT,
    "yoda": ["--load_in_4bit", "false"],
    "demo": [],
}
FULL = {"assistant"}
ADAPTER_RATES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
FULL_RATES = [rate / 10 for rate in ADAPTER_RATES]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model")
parser.add_argument("--examples", nargs="+", choices=list(EXAMPLES), default=["cantonese", "assistant", "medical-reasoning", "yoda"])
parser.add_argument("--epochs")
parser.add_argument("--swiftlet", default=ROOT + "/.build/release/swiftlet")
parser.add_argument("--rates", nargs="+", type=float, help="another grid")
parser.add_argument("--keys", default="", help="further recipe keys, such as '--max_train_samples 100'")
call = parser.parse_args()


def train(example, output, keys):
    """Trains, and returns the final validation loss; None if the loss did not stay finite."""
    words = [call.swiftlet, "sft", f"{ROOT}/Examples/{example}/recipe.yaml", "--model_name_or_path", os.path.abspath(call.model),
             "--output_dir", output, "--eval_strategy", "epoch", "--save_strategy", "no", "--questions", "null",
             "--verification_answers", "0"]
    if call.epochs:
        words += ["--num_train_epochs", call.epochs, "--max_steps", "-1"]
    words += EXAMPLES[example] + call.keys.split() + keys
    run = subprocess.run(words, capture_output=True, text=True)
    if run.returncode:
        if "not finite" in run.stderr:
            return None
        raise SystemExit(f"{' '.join(words)}\n{run.stderr}")
    with open(output + "/trainer_state.json", encoding="utf-8") as file:
        losses = [entry["eval_loss"] for entry in json.load(file)["log_history"] if "eval_loss" in entry]
    print(f"{example} {' '.join(keys)}: {losses[-1]:.4f}", file=sys.stderr, flush=True)
    return losses[-1]


print(f"{'example':<18} {'suggested':>9} {'loss':>7}   {'best of grid':>12} {'loss':>7}   difference", flush=True)
for example in call.examples:
    with tempfile.TemporaryDirectory() as folder:
        found = train(example, folder + "/found", ["--find-learning-rate"])
        with open(folder + "/found/learning_rate_test.json", encoding="utf-8") as file:
            suggested = json.load(file)["suggestion"]
        rates = call.rates or (FULL_RATES if example in FULL else ADAPTER_RATES)
        grid = {rate: train(example, f"{folder}/{rate:g}", ["--learning_rate", f"{rate:g}"]) for rate in rates}
    best = min((rate for rate in rates if grid[rate] is not None), key=grid.get)
    difference = found / grid[best] - 1
    print(f"{example:<18} {suggested or 0:>9g} {found:>7.4f}   {best:>12g} {grid[best]:>7.4f}   {difference:+.1%}")
    print(json.dumps({"example": example, "suggested": suggested, "loss": found, "grid": {f"{rate:g}": loss for rate, loss in grid.items()}}), flush=True)
