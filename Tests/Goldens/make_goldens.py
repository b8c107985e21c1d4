#!/usr/bin/env python3
"""Makes the reference values that the Swift tests compare with. README.md says how to set up Python for it.

    python make_goldens.py models            every tiny model family, or: models llama qwen3
    python make_goldens.py gguf_files --llama-cpp FOLDER        and: gguf_export
    python make_goldens.py training          ten steps of TRL's SFTTrainer on the tiny Llama
    python make_goldens.py ranks             the same over two processes
    python make_goldens.py recipe_runs       twenty steps from recipes and rows of text
    python make_goldens.py method_runs       twenty steps of TRL's preference trainers
    python make_goldens.py scoring_runs      twenty steps of reward models and classifiers
    python make_goldens.py smollm2 --gguf FILE --tokenizer FOLDER --checkpoint FOLDER     a real model; minutes
"""

import argparse
import importlib
import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # sums in one order
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

GOLDENS = Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subjects = parser.add_subparsers(dest="subject", required=True)
    parsers = {}
    for subject, help in {
        "models": "logits, gradients and greedy tokens of tiny random models",
        "gradients": "projections of every gradient of the tiny models",
        "gguf_files": "GGUF files of the tiny models, by llama.cpp's converter",
        "gguf_export": "what llama.cpp's tools make of adapters and of float32 blocks",
        "training": "ten or twenty steps of TRL's SFTTrainer on the tiny Llama",
        "ranks": "ten steps of TRL's SFTTrainer on the tiny Llama over two processes",
        "families": "ten steps of training a tiny model of each family",
        "recipe_runs": "twenty steps of TRL's SFTTrainer from recipes and rows of text",
        "method_runs": "twenty steps of TRL's preference trainers from recipes",
        "scoring_runs": "twenty steps of TRL's RewardTrainer, and of transformers' Trainer with a classifier",
        "peft": "logits of PEFT adapters over tiny models, and what merging them gives",
        "added_tokens": "adapters and training after tokens were added to tiny models",
        "quantization": "bitsandbytes: 4-bit tensors, checkpoints and training; 8-bit AdamW",
        "optimizers": "learning-rate schedules; optimizers on fixed gradients",
        "distillation": "TRL's divergences from a teacher, and twenty steps of its GKDTrainer",
        "smollm2": "SmolLM2-135M-Instruct, from its Q4_1 GGUF: logits, greedy tokens, ten steps of training",
    }.items():
        parsers[subject] = subjects.add_parser(subject, help=help)
        parsers[subject].add_argument("names", nargs="*", help="only these; all if none is named")
    real = parsers["smollm2"]
    real.add_argument("--gguf", type=Path, required=True, help="SmolLM2-135M-Instruct.Q4_1.gguf")
    real.add_argument("--tokenizer", type=Path, required=True, help="folder with SmolLM2's tokenizer.json")
    real.add_argument("--checkpoint", type=Path, required=True, help="where the float32 checkpoint is, or will be")
    for subject in ["gguf_files", "gguf_export"]:
        parsers[subject].add_argument("--llama-cpp", type=Path, required=True, help="llama.cpp's source folder")
    arguments = parser.parse_args()
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    generator = importlib.import_module(f"generators.{arguments.subject}")
    generator.make(GOLDENS / arguments.subject, arguments)


if __name__ == "__main__":
    main()
