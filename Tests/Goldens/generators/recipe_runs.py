"""Twenty steps of TRL's SFTTrainer from a recipe and rows of text: `recipe_runs/<name>/recipe.yaml`, read by TRL's own
parser, over `recipe_runs/data/`, on the tiny Llama (`models/llama`) with the tokenizer beside it.

Unlike in `training`, the reference reads the rows, tokenizes, masks, packs and orders them itself. `golden.json` has the
log of every step, and the ids that the model saw in the first one. A LoRA run begins with `adapter/`.
"""

import json
import os
import random
import shutil
import tempfile

import torch
from datasets import Dataset, load_dataset
from peft import PeftModel
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import (
    DatasetMixtureConfig,
    ModelConfig,
    ScriptArguments,
    SFTConfig,
    SFTTrainer,
    TrlParser,
    get_dataset,
    get_peft_config,
)

from .training import LOGGED, save_initial_adapter
from .values import rounded, write

NAMES = ["pairs_wrapped", "chat_assistant", "text_warmup", "pairs_bfd", "text_cosine"]

WORDS = "the a river stone walks slowly over under bright old map blue seven quiet yes no 河 石頭 佢 行 é ñ 🙂".split()

# ChatML whose assistant's turns are marked.
TEMPLATE = (
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' %}{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}"
    "{%- else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def sentence(draw, least, most):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(least, most)))


def make_rows(folder):
    """JSON Lines files of made-up rows, some longer than a recipe's max_length."""
    draw = random.Random(20)
    sets = {
        "pairs/train": [
            {"prompt": sentence(draw, 1, 5) + ": ", "completion": sentence(draw, 1, 4)} for _ in range(180)
        ],
        "texts/train": [{"id": index, "text": sentence(draw, 1, 12)} for index in range(90)],
        "texts/validation": [{"id": index, "text": sentence(draw, 2, 6)} for index in range(22)],
        "chat/train": [
            {
                "messages": [
                    {"role": role, "content": sentence(draw, 1, 3)}
                    for role in ["system"] * (index % 2) + ["user", "assistant"] * (1 + index % 3)
                ]
            }
            for index in range(60)
        ],
    }
    for name, rows in sets.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (folder / "chat" / "template.jinja").write_text(TEMPLATE, encoding="utf-8")


def read_recipe(scratch):
    """The recipe in the working folder, as `trl sft` reads it; only where results go is changed."""
    parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig, DatasetMixtureConfig))
    return parser.parse_args_and_config(["--config", "recipe.yaml", "--output_dir", scratch])


def rows_of(script, mixture):
    if mixture.datasets:
        return get_dataset(mixture)["train"]
    return load_dataset(script.dataset_name, name=script.dataset_config)[script.dataset_train_split]


class PaddedPacks(SFTTrainer):
    """Trains on the same rows a step as packed batches hold, but padded, one sequence a row: what packing amounts to
    where attention keeps rows apart, which needs FlashAttention there."""

    def __init__(self, packed, **arguments):
        rows, self.batches = [], []
        for batch in packed.get_train_dataloader():
            ids, labels, positions = (batch[key][0] for key in ("input_ids", "labels", "position_ids"))
            starts = [*torch.nonzero(positions == 0).flatten().tolist(), len(ids)]
            first = len(rows)
            for start, end in zip(starts, starts[1:]):
                rows.append({"input_ids": ids[start:end].tolist(), "labels": labels[start:end].tolist()})
            self.batches.append(list(range(first, len(rows))))
        arguments["args"].packing = False
        super().__init__(train_dataset=Dataset.from_list(rows), **arguments)

    def get_train_dataloader(self):
        return DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator)


def run(goldens, name):
    base = goldens / "models" / "llama"
    folder = goldens / "recipe_runs" / name
    tokenizer = AutoTokenizer.from_pretrained(goldens / "models" / "tokenizer")
    os.chdir(folder)
    with tempfile.TemporaryDirectory() as scratch:
        script, arguments, model_arguments, mixture = read_recipe(scratch)
        arguments.disable_tqdm = True
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        configuration = get_peft_config(model_arguments)
        if configuration is not None:
            shutil.rmtree(folder / "adapter", ignore_errors=True)
            wanted = ("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora")
            wanted = {key: getattr(configuration, key) for key in wanted}
            save_initial_adapter(model, "models/llama", name, wanted, folder / "adapter")
            model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
            model = PeftModel.from_pretrained(model, folder / "adapter", is_trainable=True)
        common = {"model": model, "args": arguments, "processing_class": tokenizer}
        trainer = SFTTrainer(train_dataset=rows_of(script, mixture), **common)
        if arguments.packing and arguments.packing_strategy == "bfd":
            arguments.padding_free = False
            trainer = PaddedPacks(trainer, **common)
        trainer.remove_callback(PrinterCallback)
        first = next(iter(trainer.get_train_dataloader()))
        trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    ids = [[id for id, kept in zip(*pair) if kept] for pair in zip(first["input_ids"].tolist(), first["attention_mask"].tolist())]
    write(folder / "golden.json", {
        "first_batch": ids,
        "steps": [{key: rounded(entry[key], 9) for key in LOGGED if key in entry} for entry in steps],
    })
    print(f"{name}: {len(steps)} steps, loss {steps[0]['loss']} to {steps[-1]['loss']}")


def make(folder, arguments):
    make_rows(folder / "data")
    for name in arguments.names or NAMES:
        run(folder.parent, name)
