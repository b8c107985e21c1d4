"""Two tokens added to a tiny model, or those of another tokenizer: what PEFT saves then and computes with it, and ten steps of
training.

`added_tokens/<name>/` is an adapter as PEFT saves it beside the tokenizer, over a base whose embedding and head were resized;
`added_tokens/<name>.json` has its logits, and the log of ten steps that begin with it. `full.json` trains every weight.
The rows are those of `training/rows.json` with some tokens replaced by new ones.

`source/` is a tokenizer with the same two tokens, of which one is its EOS token, and a third. `cloned` begins as SFTTrainer
does with it in `chat_template_path`.
"""

import json
import tempfile

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.other import TrainableTokensWrapper
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTTrainer, clone_chat_template

from .training import SETTINGS, clean, placeholder_tokenizer, settings, train, trained_tensors
from .values import rounded, seed, summary, write

NEW = [256, 257]
TEXT = "say <note>this<|tool|> and <note> that"
# name -> (base, what differs in the LoRA configuration, but for what SFTTrainer sets itself); without a configuration, every
# weight is trained
RUNS = {
    "lora": ("models/llama_tied", {}),
    "tokens": ("models/llama_tied", {"trainable_token_indices": NEW}),
    "whole": ("models/llama_tied", {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "apart": ("models/llama", {"trainable_token_indices": {"embed_tokens": NEW, "lm_head": NEW}}),
    "cloned": ("models/llama", {}),
    "full": ("models/llama", None),
}


def write_source(goldens):
    """The tokenizer whose template is cloned. One of its tokens has the name of a filler."""
    tokenizer = AutoTokenizer.from_pretrained(goldens / "models/tokenizer")
    tokenizer.add_tokens(["<note>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})
    tokenizer.add_tokens(["<extra_id_1>"])
    tokenizer.eos_token = "<|tool|>"
    tokenizer.chat_template = "{% for message in messages %}<note>{{ message['content'] }}<|tool|>{% endfor %}"
    tokenizer.save_pretrained(goldens / "added_tokens/source")


def resized(goldens, base, clones=False):
    """The base with rows for two more tokens. Those of `resize_token_embeddings` are the mean of the others and a little noise,
    which is taken out."""
    tokenizer = AutoTokenizer.from_pretrained(goldens / "models/tokenizer")
    model = AutoModelForCausalLM.from_pretrained(goldens / base, dtype=torch.float32)
    seed("added tokens")
    if clones:
        clone_chat_template(model, tokenizer, str(goldens / "added_tokens/source"))
    else:
        tokenizer.add_tokens(["<note>"])
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})
        model.resize_token_embeddings(len(tokenizer))
    with torch.no_grad():
        for module in [model.get_input_embeddings(), model.get_output_embeddings()]:
            mean = module.weight[: NEW[0]].mean(0)
            assert (module.weight[NEW[0] :] - mean).abs().max() < 1e-3 * module.weight[: NEW[0]].std()
            module.weight[NEW[0] :] = mean
    return model, tokenizer


def trainer_changes(goldens, base, rows):
    """What SFTTrainer makes of a plain LoRA configuration when it clones a template."""
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(goldens / base, dtype=torch.float32),
            args=settings(scratch, chat_template_path=str(goldens / "added_tokens/source")),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(goldens / "models/tokenizer"),
            peft_config=LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"]),
        )
        configuration = trainer.model.peft_config["default"]
        return {key: getattr(configuration, key) for key in ("trainable_token_indices", "modules_to_save")}


def save_adapter(goldens, name, base, changes):
    model, tokenizer = resized(goldens, base, name == "cloned")
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
    model, _ = resized(goldens, base, name == "cloned")
    model = PeftModel.from_pretrained(model, goldens / "added_tokens" / name, is_trainable=True)
    for module in model.modules():
        if isinstance(module, TrainableTokensWrapper):
            module.bias = None  # TRL looks for it, and PEFT's wrapper around a head lacks it
    return model


def run(goldens, name, rows):
    base, changes = RUNS[name]
    golden = {"base": base, "settings": SETTINGS}
    if name == "cloned":
        changes = trainer_changes(goldens, base, rows)
        tokenizer = resized(goldens, base, True)[1]
        added = changes["trainable_token_indices"]["embed_tokens"]
        assert added == list(range(NEW[0], len(tokenizer))) and changes["modules_to_save"] == ["lm_head"]
        decoder = tokenizer.added_tokens_decoder
        golden["added"] = [{"id": id, "content": decoder[id].content, "special": decoder[id].special} for id in added]
        golden["eos_token"] = tokenizer.eos_token
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
    golden["steps"], _ = train(model, rows, placeholder_tokenizer(model.config.vocab_size), {})
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
    write_source(goldens)
    for name in arguments.names or RUNS:
        run(goldens, name, rows)
