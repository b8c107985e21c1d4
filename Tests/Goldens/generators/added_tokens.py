"""Two tokens added to a tiny model: what PEFT saves then and computes with it, and ten steps of training.

`added_tokens/<name>/` is an adapter as PEFT saves it beside the tokenizer, over a base whose embedding and head were resized;
`added_tokens/<name>.json` has its logits, and the log of ten steps that begin with it. `full.json` trains every weight.
The rows are those of `training/rows.json` with some tokens replaced by new ones.
"""

import json

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.other import TrainableTokensWrapper
from transformers import AutoModelForCausalLM, AutoTokenizer

from .training import SETTINGS, clean, placeholder_tokenizer, train, trained_tensors
from .values import rounded, seed, summary, write

NEW = [256, 257]
TEXT = "say <note>this<|tool|> and <note> that"
# name -> (base, what differs in the LoRA configuration); without a configuration, every weight is trained
RUNS = {
    "lora": ("models/llama_tied", {}),
    "tokens": ("models/llama_tied", {"trainable_token_indices": NEW}),
    "whole": ("models/llama_tied", {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "apart": ("models/llama", {"trainable_token_indices": {"embed_tokens": NEW, "lm_head": NEW}}),
    "full": ("models/llama", None),
}


def resized(goldens, base):
    """The base with rows for two more tokens. Those of `resize_token_embeddings` are the mean of the others and a little noise,
    which is taken out."""
    tokenizer = AutoTokenizer.from_pretrained(goldens / "models/tokenizer")
    tokenizer.add_tokens(["<note>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})
    model = AutoModelForCausalLM.from_pretrained(goldens / base, dtype=torch.float32)
    seed("added tokens")
    model.resize_token_embeddings(len(tokenizer))
    with torch.no_grad():
        for module in [model.get_input_embeddings(), model.get_output_embeddings()]:
            mean = module.weight[: NEW[0]].mean(0)
            assert (module.weight[NEW[0] :] - mean).abs().max() < 1e-3 * module.weight[: NEW[0]].std()
            module.weight[NEW[0] :] = mean
    return model, tokenizer


def save_adapter(goldens, name, base, changes):
    model, tokenizer = resized(goldens, base)
    mean = model.get_output_embeddings().weight[NEW[0]].detach().clone()
    seed(f"added tokens {name}")
    settings = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"], **changes}
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_A" in key or "lora_B" in key:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
            if "trainable_tokens_delta" in key:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            if "modules_to_save" in key:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    folder = goldens / "added_tokens" / name
    # As it is in a folder that names the original model, whose vocabulary is smaller.
    model.peft_config["default"].base_model_name_or_path = str(goldens / base)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink()
    clean(folder, base)
    return mean


def opened(goldens, name, base):
    """The adapter over a base that is resized again."""
    model, _ = resized(goldens, base)
    model = PeftModel.from_pretrained(model, goldens / "added_tokens" / name, is_trainable=True)
    for module in model.modules():
        if isinstance(module, TrainableTokensWrapper):
            module.bias = None  # TRL looks for it, and PEFT's wrapper around a head lacks it
    return model


def run(goldens, name, rows):
    base, changes = RUNS[name]
    golden = {"base": base, "settings": SETTINGS}
    if changes is None:
        model, tokenizer = resized(goldens, base)
        golden["mean"] = {
            "embed_tokens": rounded(model.get_input_embeddings().weight[NEW[0]]),
            "lm_head": rounded(model.get_output_embeddings().weight[NEW[0]]),
        }
        golden["text"] = {"text": TEXT, "ids": tokenizer(TEXT)["input_ids"]}
        golden["decoded"] = tokenizer.decode(golden["text"]["ids"], skip_special_tokens=True)
    else:
        save_adapter(goldens, name, base, changes)
        model = opened(goldens, name, base)
        golden["adapter"] = f"added_tokens/{name}"
    seed(f"added tokens {name} ids")
    ids = torch.randint(3, NEW[0], (12,)).tolist()
    ids[3], ids[8] = NEW
    with torch.no_grad():
        golden |= {"ids": ids, "logits": rounded(model.eval()(input_ids=torch.tensor([ids])).logits[0])}
    model.train()
    golden["steps"], _ = train(model, rows, placeholder_tokenizer(NEW[-1] + 1), {})
    golden["trained"] = trained_tensors(model)
    write(goldens / "added_tokens" / f"{name}.json", golden)
    print(f"{name}: loss {golden['steps'][0]['loss']} to {golden['steps'][-1]['loss']}")


def make(folder, arguments):
    goldens = folder.parent
    rows = json.loads((goldens / "training/rows.json").read_text())
    for row in rows:
        for place in range(6, len(row["input_ids"]), 7):
            row["input_ids"][place] = NEW[place % 2]
            if row["labels"][place] >= 0:
                row["labels"][place] = NEW[place % 2]
        row["input_ids"][1] = NEW[len(row["labels"]) % 2]
        if row["labels"][1] >= 0:
            row["labels"][1] = row["input_ids"][1]
    write(folder / "rows.json", rows)
    for name in arguments.names or RUNS:
        run(goldens, name, rows)
