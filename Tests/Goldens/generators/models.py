"""Tiny random models of each family: weights as transformers saves them, and what the model computes with them.

Every folder `models/<name>/` holds `config.json`, `model.safetensors` and `golden.json`; `config_before_5.json` says
the same as `config.json` in the words of transformers 4.
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

ROPE_BASE = {"rope_theta": 10000.0}
# name -> (model_type, configuration, lengths of the two sequences)
FAMILIES = {
    "llama": ("llama", MEDIUM | {"tie_word_embeddings": False}, (9, 14)),
    "llama_tied": ("llama", SMALL | {"tie_word_embeddings": True, "num_key_value_heads": 1}, (9, 14)),
    "llama_linear": ("llama", SMALL | {"rope_parameters": ROPE_BASE | {"rope_type": "linear", "factor": 4.0}}, (9, 14)),
    # Beyond `max_position_embeddings` the base grows with the length.
    "llama_dynamic": (
        "llama",
        SMALL | {"rope_parameters": ROPE_BASE | {"rope_type": "dynamic", "factor": 2.0}, "max_position_embeddings": 16},
        (9, 20),
    ),
    # With this base and head size some frequencies stay, some are divided and one lies between.
    "llama_llama3": (
        "llama",
        SMALL
        | {
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        (9, 14),
    ),
    "qwen2": ("qwen2", SMALL | {"tie_word_embeddings": True, "rope_parameters": {"rope_theta": 1000000.0}}, (9, 14)),
    # The heads together are twice as wide as the hidden state.
    "qwen3": (
        "qwen3",
        SMALL | {"head_dim": 16, "tie_word_embeddings": True, "rope_parameters": {"rope_theta": 1000000.0}},
        (9, 14),
    ),
    "mistral": ("mistral", SMALL | {"sliding_window": 8}, (9, 18)),
    "phi3": ("phi3", SMALL | {"sliding_window": 8, "num_key_value_heads": 4}, (9, 18)),
    # A sequence longer than the original 32 positions takes the long factors, at all of its positions.
    "phi3_longrope": (
        "phi3",
        SMALL
        | {
            "original_max_position_embeddings": 32,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0, 1.1, 1.3, 1.6],
                "long_factor": [1.5, 2.5, 4.0, 6.0],
                "original_max_position_embeddings": 32,
            },
        },
        (9, 34),
    ),
    "gemma3_text": (
        "gemma3_text",
        SMALL
        | {
            "num_hidden_layers": 3,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "query_pre_attn_scalar": 24,
            "sliding_window": 8,
            "sliding_window_pattern": 3,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
            },
        },
        (9, 18),
    ),
    # What a GGUF can say of Gemma 3: every sixth layer attends to all, and scores are divided by the root of head_dim.
    "gemma3_six_layers": (
        "gemma3_text",
        SMALL
        | {
            "intermediate_size": 32,
            "num_hidden_layers": 6,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": 8,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
            },
        },
        (9, 14),
    ),
    # The last layer has no rotary embedding.
    "smollm3": ("smollm3", SMALL | {"num_hidden_layers": 3, "no_rope_layers": [1, 1, 0]}, (9, 14)),
}
# The same weights stored in 16 bits; everything computed in float32 from what was stored.
NARROW = {"llama_bf16": ("llama_tied", torch.bfloat16), "llama_f16": ("llama_tied", torch.float16)}


def family(folder, name):
    """Makes one folder: the weights, then everything that the reference computes from them."""
    if name in NARROW:
        source, dtype = NARROW[name]
        lengths = FAMILIES[source][2]
        save(AutoModelForCausalLM.from_pretrained(folder / source, dtype=dtype), folder / name)
    else:
        model_type, configuration, lengths = FAMILIES[name]
        seed(name)
        save(random_model(AutoConfig.for_model(model_type, **configuration)), folder / name)
    # What counts is what a reader of the saved files gets.
    model = AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32, attn_implementation="eager")
    seed(name + " ids")
    sequences = [torch.randint(3, model.config.vocab_size, (length,)).tolist() for length in lengths]
    golden = {"sequences": [forward(model, ids) for ids in sequences]}
    check_older_spelling(folder / name, model, sequences[-1])
    golden |= gradients(model, sequences)
    golden |= {"greedy": greedy(model, sequences[0][:8])}
    write(folder / name / "golden.json", golden)
    return golden


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


def older_spelling(configuration):
    """A configuration as transformers 4 spelled it: most published models still do."""
    older = dict(configuration, transformers_version="4.56.1")
    older["torch_dtype"] = older.pop("dtype")
    rope = older.pop("rope_parameters")
    older["rope_scaling"] = None
    if "full_attention" in rope:
        older["rope_theta"] = rope["full_attention"]["rope_theta"]
        older["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        older.pop("_sliding_window_pattern", None)
        older["sliding_window_pattern"] = older.pop("layer_types").index("full_attention") + 1
    else:
        older["rope_theta"] = rope["rope_theta"]
        if rope["rope_type"] != "default":
            elsewhere = ("rope_theta", "partial_rotary_factor")
            older["rope_scaling"] = {key: rope[key] for key in rope if key not in elsewhere}
    if older["rope_scaling"] and rope["rope_type"] == "longrope":
        older["rope_scaling"]["type"] = older["rope_scaling"].pop("rope_type")
        older["original_max_position_embeddings"] = older["rope_scaling"].pop("original_max_position_embeddings")
    return older


def check_older_spelling(folder, model, ids):
    """Writes `config_before_5.json` and makes sure that it means the same model."""
    path = folder / "config_before_5.json"
    configuration = older_spelling(json.loads((folder / "config.json").read_text()))
    path.write_text(json.dumps(configuration, indent=2, sort_keys=True) + "\n")
    older = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path), attn_implementation="eager").eval()
    older.load_state_dict(model.state_dict())
    with torch.no_grad():
        batch = torch.tensor([ids])
        if not torch.equal(older.float()(input_ids=batch).logits, model(input_ids=batch).logits):
            raise AssertionError(f"{path} means another model")


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

    The two agree unless the rotary embedding depends on the length reached. `margin` is the smallest distance between
    the best and the second-best logit on either way.
    """
    with torch.no_grad():
        cached = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=GREEDY_TOKENS,
            eos_token_id=-1,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
        best = list(torch.cat(cached.logits))
        ids = list(prompt)
        for _ in range(GREEDY_TOKENS):
            best.append(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1])
            ids.append(best[-1].argmax().item())
    first, second = torch.stack(best).topk(2).values.unbind(1)
    result = {"prompt": prompt, "ids": cached.sequences[0, len(prompt) :].tolist()}
    result["margin"] = rounded((first - second).min().item())
    if ids[len(prompt) :] != result["ids"]:
        result["ids_without_cache"] = ids[len(prompt) :]
    return result


def make(folder, arguments):
    for name in arguments.names or [*FAMILIES, *NARROW]:
        golden = family(folder, name)
        note = ", the cache changes the tokens" if "ids_without_cache" in golden["greedy"] else ""
        print(f"{name}: loss {golden['loss']}, smallest greedy margin {golden['greedy']['margin']}{note}")
