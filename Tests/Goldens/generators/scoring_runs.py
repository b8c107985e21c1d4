"""Twenty steps of TRL's RewardTrainer, and of transformers' Trainer with a sequence classifier, from a recipe:
`scoring_runs/<name>/recipe.yaml`, read by TRL's own parser, on the tiny Llama (`models/llama`) with the tokenizer beside it.

A LoRA run begins with `adapter/`, whose `score` is the head; a run of every weight with the `head` in `golden.json`. Each
golden also has the scores of some texts before and after the run, and the configuration that transformers saves.
"""

import json
import os
import random
import shutil
import tempfile

import torch
from datasets import load_dataset
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback
from trl import ModelConfig, RewardConfig, RewardTrainer, ScriptArguments, TrlParser, get_peft_config

from .recipe_runs import TEMPLATE, sentence
from .values import rounded, seed, write

NAMES = ["reward_text", "reward_chat", "reward_full", "classify_text", "classify_full"]
CONFIGURATIONS = {"reward": RewardConfig, "classify": TrainingArguments}
IGNORED = ("learning_rate", "step", "num_input_tokens_seen")

# What is scored before and after each run: the last one ends with the EOS token.
TEXTS = ["the old map", "a river walks slowly over the stone yes", "河 seven", "no", "bright blue quiet<|im_end|>"]


def make_rows(folder):
    """JSON Lines files of made-up rows with margins, and with labels as names and as numbers."""
    draw = random.Random(22)
    margins = [
        {
            "chosen": sentence(draw, 1, 6),
            "rejected": sentence(draw, 1, 6),
            "margin": round(draw.uniform(0, 1.5), 2),
        }
        for _ in range(40)
    ]
    named = [
        {"text": sentence(draw, 1, 7), "label": draw.choice(["river", "map", "Stone"])} for _ in range(60)
    ]
    numbered = []
    for index in range(44):
        turns = [("user", 3), ("assistant", 4)] * (1 + index % 2)
        numbered.append(
            {
                "messages": [{"role": role, "content": sentence(draw, 1, most)} for role, most in turns],
                "label": draw.randrange(4),
            }
        )
    numbered[3]["label"] = 3
    for name, rows in {"margins": margins, "named": named, "numbered": numbered}.items():
        path = folder / name / "train.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def parse(name, scratch):
    """The recipe in the working folder."""
    parser = TrlParser((ScriptArguments, CONFIGURATIONS[name.split("_")[0]], ModelConfig))
    script, arguments, model_arguments = parser.parse_args_and_config(
        ["--config", "recipe.yaml", "--output_dir", scratch]
    )
    arguments.disable_tqdm = True
    return script, arguments, get_peft_config(model_arguments)


def labels(rows):
    """Names of labels in order, or none for numbers."""
    if isinstance(rows[0]["label"], int):
        return None, 1 + max(rows["label"])
    names = sorted(set(rows["label"]))
    return names, len(names)


def new_model(goldens, name, names, count):
    """The model with a random head that depends on the name of the run alone."""
    changes = {}
    if names is not None:
        changes = {"id2label": dict(enumerate(names)), "label2id": {label: i for i, label in enumerate(names)}}
    model = AutoModelForSequenceClassification.from_pretrained(
        goldens / "models" / "llama", dtype=torch.float32, num_labels=count, **changes
    )
    seed(name + " head")
    with torch.no_grad():
        model.score.weight.copy_(torch.randn_like(model.score.weight) * 0.1)
    return model


def save_adapter(model, lora, name, folder):
    """An adapter with B random: with B zero, the gradient of A is zero in the first step."""
    shutil.rmtree(folder, ignore_errors=True)
    wanted = ("r", "lora_alpha", "lora_dropout", "target_modules", "task_type")
    model = get_peft_model(model, LoraConfig(**{key: getattr(lora, key) for key in wanted}))
    seed(name + " adapter")
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    saved = json.loads(file.read_text())
    saved["base_model_name_or_path"] = "models/llama"
    if isinstance(saved["target_modules"], list):
        saved["target_modules"].sort()  # PEFT keeps a set: its order changes between runs
    file.write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")


def scores(model, tokenizer):
    model.eval()
    with torch.no_grad():
        return [rounded(model(**tokenizer(text, return_tensors="pt")).logits[0], 9) for text in TEXTS]


def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def classifier_trainer(model, arguments, rows, tokenizer, names):
    """As transformers' example of text classification prepares rows."""

    def encode(row):
        if "messages" in row:
            text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
            encoded = tokenizer(text, add_special_tokens=False)
        else:
            encoded = tokenizer(row["text"])
        return {
            "input_ids": encoded["input_ids"],
            "attention_mask": encoded["attention_mask"],
            "labels": names.index(row["label"]) if names else row["label"],
        }

    model.config.pad_token_id = tokenizer.pad_token_id
    encoded = rows.map(encode, remove_columns=rows.column_names)
    return Trainer(
        model=model, args=arguments, train_dataset=encoded, eval_dataset=encoded, processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer), compute_metrics=accuracy,
    )


def run(goldens, folder, name):
    tokenizer = AutoTokenizer.from_pretrained(goldens / "models" / "tokenizer")
    tokenizer.chat_template = TEMPLATE
    with tempfile.TemporaryDirectory() as scratch:
        script, arguments, lora = parse(name, scratch)
        rows = load_dataset(script.dataset_name)["train"]
        is_reward = name.startswith("reward")
        names, count = (None, 1) if is_reward else labels(rows)
        golden = {"labels": names or count, "texts": TEXTS}
        if lora is not None:
            save_adapter(new_model(goldens, name, names, count), lora, name, folder / "adapter")
        model = new_model(goldens, name, names, count)
        if lora is None:
            golden["head"] = rounded(model.score.weight, 9)
        if is_reward:
            trainer = RewardTrainer(
                model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, peft_config=lora
            )
        else:
            model = model if lora is None else get_peft_model(model, lora)
            trainer = classifier_trainer(model, arguments, rows, tokenizer, names)
        if lora is not None:
            set_peft_model_state_dict(trainer.model, load_file("adapter/adapter_model.safetensors"))
        golden["scores_before"] = scores(trainer.model, tokenizer)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        steps = [entry for entry in trainer.state.log_history if "loss" in entry]
        golden["scores_after"] = scores(trainer.model, tokenizer)
        if not is_reward:
            evaluation = trainer.evaluate()
            golden["evaluation"] = {key: rounded(evaluation[key], 9) for key in ("eval_loss", "eval_accuracy")}
        if lora is None:
            trainer.model.save_pretrained(scratch)
            golden["config"] = json.loads(open(os.path.join(scratch, "config.json")).read())
            golden["tensors"] = sorted(load_file(os.path.join(scratch, "model.safetensors")))
    golden["steps"] = [{key: rounded(step[key], 9) for key in step if key not in IGNORED} for step in steps]
    write(folder / "golden.json", golden)
    print(f"{name}: {len(steps)} steps, loss {steps[0]['loss']} to {steps[-1]['loss']}")


def make(folder, arguments):
    make_rows(folder / "data")
    for name in arguments.names or NAMES:
        os.chdir(folder / name)
        run(folder.parent, folder / name, name)
