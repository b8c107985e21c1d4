"""Distillation from a teacher's predictions, as TRL's GKDTrainer computes it without generating (`lmbda` 0).

`distillation/divergences.json`: its loss and the gradient on given logits. `distillation/<name>.json`: twenty steps on the
rows of `training/rows.json`.
"""

import json
import tempfile

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.trainer_callback import PrinterCallback
from trl.experimental.gkd import GKDConfig, GKDTrainer

from .training import placeholder_tokenizer, settings
from .values import rounded, seed, write

STEPS = 20
# name -> (teacher, beta, whether the student is an adapter on the base)
RUNS = {
    "forward": ("llama_tied", 0.0, True),
    "reverse": ("llama_tied", 1.0, True),
    "between": ("llama_linear", 0.3, False),
}


def divergences():
    cases = []
    for vocabulary in (7, 40):
        seed(f"divergence {vocabulary}")
        student = torch.randn(3, vocabulary, requires_grad=True)
        teacher = torch.randn(3, vocabulary) * 3
        for beta in (0.0, 0.1, 0.5, 0.9, 1.0):
            for temperature in (1.0, 2.5):
                losses = GKDTrainer.generalized_jsd_loss(
                    student * 2, teacher, beta=beta, temperature=temperature, reduction="none"
                ).sum(-1)
                gradient, = torch.autograd.grad(losses.sum(), student)
                cases.append({
                    "vocabulary": vocabulary, "beta": beta, "temperature": temperature,
                    "student": rounded((student * 2).flatten(), 9), "teacher": rounded(teacher.flatten(), 9),
                    "losses": rounded(losses, 9), "gradient": rounded((gradient / 2).flatten(), 9),
                })
    return cases


def padded(rows):
    """A batch of rows that are tokens already."""
    length = max(len(row["input_ids"]) for row in rows)
    def pad(key, value):
        return torch.tensor([row[key] + [value] * (length - len(row[key])) for row in rows])
    ids = pad("input_ids", 0)
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (length - len(row["input_ids"])) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": pad("labels", -100), "prompts": ids[:, :1]}


def run(goldens, name):
    teacher, beta, has_adapter = RUNS[name]
    rows = json.loads((goldens / "training" / "rows.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(goldens / "models/llama", dtype=torch.float32)
    if has_adapter:
        model = PeftModel.from_pretrained(model, goldens / "training/lora/adapter", is_trainable=True)
    known = AutoModelForCausalLM.from_pretrained(goldens / "models" / teacher, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as scratch:
        shared = {key: value for key, value in settings(scratch).to_dict().items() if key in (
            "output_dir", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate",
            "train_sampling_strategy", "logging_steps", "use_cpu", "bf16", "gradient_checkpointing", "save_strategy",
            "report_to", "disable_tqdm",
        )}
        trainer = GKDTrainer(
            model=model,
            teacher_model=known,
            args=GKDConfig(**shared, max_steps=STEPS, lmbda=0.0, beta=beta),
            data_collator=padded,
            train_dataset=Dataset.from_list(rows),
            processing_class=placeholder_tokenizer(model.config.vocab_size),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(steps) == STEPS
    write(goldens / "distillation" / f"{name}.json", {
        "base": "models/llama",
        "adapter": "training/lora/adapter" if has_adapter else None,
        "teacher": f"models/{teacher}",
        "beta": beta,
        "steps": [{key: rounded(entry[key], 9) for key in ("loss", "grad_norm", "learning_rate")} for entry in steps],
    })
    print(f"{name}: loss {steps[0]['loss']} to {steps[-1]['loss']}")


def make(folder, arguments):
    write(folder / "divergences.json", divergences())
    for name in arguments.names or RUNS:
        run(folder.parent, name)
