"""Writes orders.json: the orders that numpy, datasets and the trainer draw.

Run with the Python packages that Tests/Goldens/README.md pins:
    python make_orders.py
"""

import json
import os
import pathlib
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from datasets import Dataset, interleave_datasets
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

out = {}

out["words"] = []
for seed in [0, 1, 42, 3407, 2**32 + 7, 2**63 + 11]:
    g = np.random.default_rng(seed)
    out["words"].append({"seed": str(seed), "next64": [str(x) for x in g.bit_generator.random_raw(5)]})

out["doubles"] = np.random.default_rng(7).random(6).tolist()

out["shuffles"] = []
for n in [0, 1, 2, 7, 10, 100, 1000]:
    for seed in [0, 1, 42, 3407]:
        rows = Dataset.from_dict({"i": list(range(n))}).shuffle(seed=seed)["i"] if n else []
        out["shuffles"].append({"n": n, "seed": seed, "order": list(rows)})

out["splits"] = []
for n, size, seed, shuffle in [(10, 0.25, 42, True), (17, 3, 0, True), (100, 0.1, 3407, True), (9, 0.5, 1, False)]:
    d = Dataset.from_dict({"i": list(range(n))}).train_test_split(test_size=size, seed=seed, shuffle=shuffle)
    out["splits"].append({"n": n, "size": size, "seed": seed, "shuffle": shuffle,
                          "train": list(d["train"]["i"]), "test": list(d["test"]["i"])})

out["randperm"] = []
for n in [1, 2, 5, 33, 700]:
    for seed in [0, 42, 43, 3407, 2**32 + 5]:
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
        out["randperm"].append({"n": n, "seed": seed, "order": order})

out["mixes"] = []
for lengths, shares, seed, stop in [
    ([5, 8], [0.5, 0.5], 42, "first_exhausted"),
    ([30, 10, 7], [0.7, 0.2, 0.1], 3407, "first_exhausted"),
    ([3, 9], [0.25, 0.75], 0, "all_exhausted"),
    ([6, 4, 5], None, None, "first_exhausted"),
    ([2, 4, 3], None, None, "all_exhausted"),
]:
    sets = [Dataset.from_dict({"i": [1000 * s + i for i in range(n)]}) for s, n in enumerate(lengths)]
    mixed = interleave_datasets(sets, probabilities=shares, seed=seed, stopping_strategy=stop)
    out["mixes"].append({"lengths": lengths, "shares": shares, "seed": seed, "stop": stop, "order": list(mixed["i"])})

# What a trainer really feeds: every batch of every epoch, as its data loader gives them.
out["epochs"] = []
model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=64, n_positions=8))
for n, batch, seed, data_seed, drop in [
    (10, 2, 42, None, False), (23, 4, 3407, None, False), (23, 4, 3407, None, True), (9, 4, 1, 77, False),
]:
    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return n

        def __getitem__(self, i):
            return {"input_ids": torch.tensor([i]), "labels": torch.tensor([i])}

    args = TrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=batch, seed=seed, data_seed=data_seed,
        dataloader_drop_last=drop, use_cpu=True, report_to="none", bf16=False, disable_tqdm=True)
    trainer = Trainer(model=model, args=args, train_dataset=Rows())
    loader = trainer.get_train_dataloader()
    epochs = []
    for epoch in range(3):
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(epoch)
        epochs.append([b["input_ids"].flatten().tolist() for b in loader])
    out["epochs"].append({"n": n, "batch": batch, "seed": seed, "data_seed": data_seed, "drop": drop,
                          "epochs": epochs})

# The same through training, with accumulation: the order in which batches reach the model, step by step.
out["steps"] = []
for n, batch, accumulation, epochs, seed in [(11, 2, 4, 2, 42), (8, 2, 2, 2, 3407), (7, 3, 2, 3, 5)]:
    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return n

        def __getitem__(self, i):
            return {"input_ids": torch.tensor([i]), "labels": torch.tensor([i])}

    seen = []

    class Recorder(Trainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            seen.append((self.state.global_step, inputs["input_ids"].flatten().tolist()))
            # Twice the same token, so that there is one to predict.
            doubled = {"input_ids": inputs["input_ids"].repeat(1, 2), "labels": inputs["labels"].repeat(1, 2)}
            return super().training_step(model, doubled, num_items_in_batch)

    args = TrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs, seed=seed, use_cpu=True, report_to="none", bf16=False, disable_tqdm=True,
        save_strategy="no", logging_strategy="no")
    Recorder(model=model, args=args, train_dataset=Rows()).train()
    steps = {}
    for step, rows in seen:
        steps.setdefault(step, []).append(rows)
    out["steps"].append({"n": n, "batch": batch, "accumulation": accumulation, "epochs": epochs, "seed": seed,
                         "steps": [steps[s] for s in sorted(steps)]})

path = pathlib.Path(__file__).with_name("orders.json")
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
print(path, path.stat().st_size)
