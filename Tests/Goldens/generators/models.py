"""Tiny random models of each family: weights as transformers saves them, and what the model computes with them.

Every folder `models/<name>/` holds `config.json`, `model.safetensors` and `golden.json`.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from .values import rounded, seed, summary, write

WEIGHT_DEVIATION = 0.2  # far above the usual 0.02: logits then lie far enough apart for greedy decoding to be exact
GREEDY_TOKENS = 32

SMALL = {
    "vocab_size": 256,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MEDIUM = SMALL | {"hidden_size": 64, "intermediate_size": 96}

# name -> (model_type, configuration, lengths of the two sequences)
FAMILIES = {
    "llama": ("llama", MEDIUM | {"tie_word_embeddings": False}, (9, 14)),
    "llama_tied": ("llama", SMALL | {"tie_word_embeddings": True, "num_key_value_heads": 1}, (9, 14)),
}

SPELLED_AS_BEFORE = {"llama_tied"}


def family(folder, name, model_type, configuration, lengths):
    """Makes one folder: the weights, then everything that the reference computes from them."""
    seed(name)
    model = random_model(AutoConfig.for_model(model_type, **configuration))
    save(model, folder / name)
    if name in SPELLED_AS_BEFORE:
        write_as_before_version_5(folder / name / "config.json")
    # What counts is what a reader of the saved files gets.
    model = AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32, attn_implementation="eager")
    seed(name + " ids")
    sequences = [torch.randint(3, model.config.vocab_size, (length,)).tolist() for length in lengths]
    golden = {"sequences": [forward(model, ids) for ids in sequences]}
    golden |= gradients(model, sequences)
    golden |= {"greedy": greedy(model, sequences[0][:8])}
    write(folder / name / "golden.json", golden)


def random_model(config):
    """Random weights everywhere; gains and biases too, so that forgetting one of them shows."""
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.copy_(torch.randn_like(parameter) * WEIGHT_DEVIATION)
    return model.eval()


def save(model, folder):
    """Only the two files that a reader needs, as `save_pretrained` writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        for file in ("config.json", "model.safetensors"):
            shutil.copyfile(Path(scratch) / file, folder / file)


def write_as_before_version_5(path):
    """Spells a configuration as transformers 4 did: most published models still do."""
    configuration = json.loads(path.read_text())
    configuration["torch_dtype"] = configuration.pop("dtype")
    rope = configuration.pop("rope_parameters")
    configuration["rope_theta"] = rope.pop("rope_theta")
    configuration["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    configuration["transformers_version"] = "4.56.1"
    path.write_text(json.dumps(configuration, indent=2, sort_keys=True) + "\n")


def forward(model, ids):
    """Logits at every position, and the mean loss over the shifted tokens."""
    with torch.no_grad():
        output = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids]), use_cache=False)
    return {"ids": ids, "loss": rounded(output.loss.item(), 9), "logits": rounded(output.logits[0].float())}


def gradients(model, sequences):
    """One backward pass: the loss is the mean over all predicted tokens of all sequences together."""
    model.zero_grad()
    predicted = sum(len(ids) - 1 for ids in sequences)
    total = 0.0
    for ids in sequences:
        batch = torch.tensor([ids])
        loss = model(input_ids=batch, labels=batch, num_items_in_batch=predicted, use_cache=False).loss
        loss.backward()
        total += loss.item()
    result = {name: summary(parameter.grad) for name, parameter in model.named_parameters()}
    model.zero_grad()
    return {"loss": rounded(total, 9), "gradients": result}


def greedy(model, prompt):
    """Greedy tokens with the key/value cache, and again computing the whole sequence for each token.

    The two agree unless the family's rotary embedding depends on the length reached; `margin` is the smallest
    distance between the best and the second-best logit on the way without the cache.
    """
    with torch.no_grad():
        cached = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=GREEDY_TOKENS,
            eos_token_id=-1,
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        ids, margin = list(prompt), float("inf")
        for _ in range(GREEDY_TOKENS):
            best = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            ids.append(best.indices[0].item())
    recomputed = ids[len(prompt) :]
    result = {"prompt": prompt, "ids": cached, "margin": rounded(margin)}
    if recomputed != cached:
        result["ids_without_cache"] = recomputed
    return result


def make(folder, arguments):
    for name in arguments.names or FAMILIES:
        family(folder, name, *FAMILIES[name])
        golden = json.loads((folder / name / "golden.json").read_text())
        greedy_result = golden["greedy"]
        print(f"{name}: loss {golden['loss']}, smallest greedy margin {greedy_result['margin']}"
              + (", cache changes the tokens" if "ids_without_cache" in greedy_result else ""))
