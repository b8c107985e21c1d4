"""Ten steps of TRL's SFTTrainer on the tiny Llama, or a mixture of experts, over two processes with gloo, as `accelerate launch --num_processes 2`
starts them on GPUs. On processors that command expects mpirun, so `torch.distributed.run`, which is under it, is called here.

`ranks/<name>.json` is like `training/<name>/golden.json`, from the same rows and adapter. The rows are 37, so that
accelerate fills up the last batches of an epoch, and ten steps take more than one epoch.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from .training import ACCUMULATION, BATCH, STEPS, make_rows, placeholder_tokenizer, train, trained_tensors
from .values import write

NAMES = ["full", "lora", "experts"]
RANKS, ROWS = 2, 37


def run(goldens, name):
    """What each of the processes does."""
    base = "models/qwen3_moe" if name == "experts" else "models/llama"
    changes = {"router_aux_loss_coef": 0.1} if name == "experts" else {}
    model = AutoModelForCausalLM.from_pretrained(goldens / base, dtype=torch.float32)
    adapter = None
    if name == "lora":
        adapter = "training/lora/adapter"
        model = PeftModel.from_pretrained(model, goldens / adapter, is_trainable=True)
    tokenizer = placeholder_tokenizer(model.config.vocab_size)
    steps, _ = train(model, make_rows(vocabulary=256)[:ROWS], tokenizer, {"ddp_backend": "gloo"} | changes)
    if os.environ["RANK"] != "0":
        return
    write(goldens / "ranks" / f"{name}.json", {
        "base": base,
        "adapter": adapter,
        "ranks": RANKS,
        "rows": ROWS,
        "settings": {
            "max_steps": STEPS,
            "per_device_train_batch_size": BATCH,
            "gradient_accumulation_steps": ACCUMULATION,
            "learning_rate": 1e-3,
            **changes,
        },
        "steps": steps,
        "trained": trained_tensors(model),
    })
    print(f"{name}: loss {steps[0]['loss']} to {steps[-1]['loss']}")


def make(folder, arguments):
    folder.mkdir(exist_ok=True)
    for name in arguments.names or NAMES:
        subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(RANKS),
             "-m", "generators.ranks", name],
            cwd=folder.parent, check=True, env=os.environ | {"ACCELERATE_USE_CPU": "true"})


if __name__ == "__main__":
    run(Path(__file__).resolve().parent.parent, sys.argv[1])
