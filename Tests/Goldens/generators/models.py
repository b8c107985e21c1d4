"""Tiny random models of each family: weights as transformers saves them, and what the model computes with them.

Every folder `models/<name>/` holds `config.json`, `model.safetensors` and `golden.json`; `config_before_5.json` says
the same as `config.json` in the words of transformers 4.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

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

# A language model within another model, and the vision tower next to it.
WITHIN = {key: SMALL[key] for key in SMALL if not key.endswith("_token_id")}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}

# Qwen3.5: linear attention in all layers but the last one; the vision tower is in `model.visual.`.
QWEN35 = {
    "text_config": WITHIN
    | {
        "num_hidden_layers": 3,
        "layer_types": ["linear_attention", "linear_attention", "full_attention"],
        "head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 16,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.25,
            "mrope_section": [1, 1, 0],
        },
    },
    "vision_config": {
        "hidden_size": 16,
        "out_hidden_size": 32,
        "intermediate_size": 24,
        "depth": 1,
        "num_heads": 2,
        "patch_size": 2,
        "num_position_embeddings": 16,
    },
    "tie_word_embeddings": True,
}

ROPE_BASE = {"rope_theta": 10000.0}
# name -> (model_type, configuration, lengths of the two sequences)
GEMMA4 = SMALL | {
    "num_hidden_layers": 5,
    "num_kv_shared_layers": 2,
    "use_double_wide_mlp": True,
    "head_dim": 4,
    "global_head_dim": 8,
    "sliding_window": 8,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 256,
    "final_logit_softcapping": 30.0,
}
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
    # Models that also read images: the language model is under `text_config`, next to a vision tower.
    "gemma3_vision": (
        "gemma3",
        {
            "text_config": WITHIN
            | {
                "num_hidden_layers": 3,
                "num_key_value_heads": 1,
                "head_dim": 16,
                "query_pre_attn_scalar": 24,
                "sliding_window": 8,
                "sliding_window_pattern": 3,
                "rope_parameters": {
                    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                    "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
                },
            },
            "vision_config": VISION | {"vision_use_head": False},
            "mm_tokens_per_image": 4,
        },
        (9, 18),
    ),
    "mistral3": (
        "mistral3",
        {
            "text_config": WITHIN | {"model_type": "mistral", "head_dim": 16, "sliding_window": None},
            "vision_config": VISION | {"head_dim": 8},
            "tie_word_embeddings": False,
        },
        (9, 14),
    ),
    # Frequencies are scaled, and queries grow beyond the original 8 positions.
    "ministral3": (
        "mistral3",
        {
            "text_config": WITHIN
            | {
                "model_type": "ministral3",
                "head_dim": 16,
                "pad_token_id": 0,  # torch gives its embedding no gradient
                "rope_parameters": {
                    "rope_type": "yarn",
                    "rope_theta": 10000.0,
                    "factor": 16.0,
                    "original_max_position_embeddings": 8,
                    "beta_fast": 4.0,
                    "beta_slow": 0.25,
                    "mscale": 1.0,
                    "mscale_all_dim": 0.5,
                    "llama_4_scaling_beta": 0.1,
                },
            },
            "vision_config": VISION | {"head_dim": 8},
            "tie_word_embeddings": True,
        },
        (9, 20),
    ),
    "granite": (
        "granite",
        SMALL
        | {
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.3,
            "logits_scaling": 8.0,
            "tie_word_embeddings": True,
        },
        (9, 14),
    ),
    "granite4": (
        "granitemoehybrid",
        SMALL
        | {
            "layer_types": ["full_attention", "full_attention"],
            "num_local_experts": 0,
            "shared_intermediate_size": 40,
            "position_embedding_type": "rope",
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.3,
            "logits_scaling": 8.0,
            "tie_word_embeddings": True,
            "mamba_n_heads": 8,
        },
        (9, 14),
    ),
    # Phi-4 (14B) has fewer key/value heads; Phi-4-mini also rotates three quarters of each head and ties its head.
    "phi4": ("phi3", SMALL | {"sliding_window": None, "rope_parameters": {"rope_theta": 250000.0}}, (9, 14)),
    "phi4_mini": (
        "phi3",
        SMALL
        | {
            "tie_word_embeddings": True,
            "original_max_position_embeddings": 32,
            "partial_rotary_factor": 0.75,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0, 1.1, 1.3],
                "long_factor": [1.5, 2.5, 4.0],
                "original_max_position_embeddings": 32,
            },
        },
        (9, 34),
    ),
    "olmo2": ("olmo2", SMALL | {"rope_parameters": {"rope_theta": 500000.0}}, (9, 14)),
    "olmo3": (
        "olmo3",
        SMALL
        | {
            "num_hidden_layers": 4,
            "sliding_window": 8,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
                "full_attention": {
                    "rope_type": "yarn",
                    "rope_theta": 500000.0,
                    "factor": 8.0,
                    "original_max_position_embeddings": 16,
                    "attention_factor": 1.2079441541679836,
                    "beta_fast": 32.0,
                    "beta_slow": 1.0,
                },
            },
        },
        (9, 18),
    ),
    "gemma2": (
        "gemma2",
        SMALL
        | {
            "num_hidden_layers": 2,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 8,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 10.0,
            "rope_parameters": {"rope_theta": 10000.0},
        },
        (9, 18),
    ),
    # The MLP's size is adjusted: 2/3 of 48, rounded up to a multiple of 24.
    "lfm2": (
        "lfm2",
        SMALL
        | {
            "num_hidden_layers": 4,
            "layer_types": ["conv", "full_attention", "conv", "conv"],
            "conv_L_cache": 3,
            "block_multiple_of": 24,
            "rope_parameters": {"rope_theta": 1000000.0},
        },
        (9, 14),
    ),
    "qwen3_moe": (
        "qwen3_moe",
        SMALL
        | {
            "head_dim": 8,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "norm_topk_prob": True,
            "rope_parameters": {"rope_theta": 1000000.0},
        },
        (9, 14),
    ),
    # The second layer has an MLP, and the weights of a token don't add up to 1.
    "qwen3_moe_mixed": (
        "qwen3_moe",
        SMALL
        | {
            "head_dim": 8,
            "num_experts": 5,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 16,
            "mlp_only_layers": [1],
            "rope_parameters": {"rope_theta": 1000000.0},
        },
        (9, 14),
    ),
    "qwen3_5": ("qwen3_5", QWEN35, (9, 40)),
    # What a GGUF can say of Qwen3.5: heads of linear attention have one size. Three value heads share a key head.
    "qwen3_5_gguf": (
        "qwen3_5",
        QWEN35
        | {
            "text_config": QWEN35["text_config"]
            | {
                "num_hidden_layers": 4,
                "layer_types": 3 * ["linear_attention"] + ["full_attention"],
                "linear_num_value_heads": 6,
                "linear_value_head_dim": 8,
            },
        },
        (9, 14),
    ),
    "granitemoe": (
        "granitemoe",
        SMALL
        | {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 24,
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.3,
            "logits_scaling": 6.0,
        },
        (9, 14),
    ),
    # All three kinds of layers.
    "lfm3": (
        "lfm3",
        SMALL
        | {
            "num_hidden_layers": 5,
            "head_dim": 16,
            "sliding_window": 8,
            "layer_types": ["conv", "conv", "full_attention", "conv", "sliding_attention"],
            "tie_word_embeddings": True,
        },
        (9, 18),
    ),
    "gpt_oss": (
        "gpt_oss",
        SMALL
        | {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 64,
            "head_dim": 8,
            "sliding_window": 8,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 150000.0,
                "factor": 4.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "truncate": False,
                "original_max_position_embeddings": 32,
            },
        },
        (9, 18),
    ),
    # As in E2B: per-layer embeddings, and the last layers share keys and values and have wider MLPs.
    "gemma4": (
        "gemma4_text",
        GEMMA4
        | {"layer_types": ["sliding_attention", "full_attention"] + 2 * ["sliding_attention"] + ["full_attention"]},
        (9, 18),
    ),
    # As in E2B, layers share the keys and values of the last two that have their own: the only case that llama.cpp computes.
    "gemma4_gguf": (
        "gemma4_text",
        GEMMA4
        | {"layer_types": 2 * ["sliding_attention"] + ["full_attention", "sliding_attention", "full_attention"]},
        (9, 18),
    ),
    # As in 31B: keys are values in layers without a window, which have fewer key heads.
    "gemma4_keys": (
        "gemma4_text",
        SMALL
        | {
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 1,
            "head_dim": 8,
            "global_head_dim": 16,
            "sliding_window": 8,
            "hidden_size_per_layer_input": 0,
        },
        (9, 18),
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
        save(load(folder / source, dtype), folder / name)
    else:
        model_type, configuration, lengths = FAMILIES[name]
        seed(name)
        save(random_model(AutoConfig.for_model(model_type, **configuration)), folder / name)
    # What counts is what a reader of the saved files gets.
    model = load(folder / name)
    seed(name + " ids")
    vocabulary = model.config.get_text_config().vocab_size
    sequences = [torch.randint(3, vocabulary, (length,)).tolist() for length in lengths]
    golden = {"sequences": [forward(model, ids) for ids in sequences]}
    check_older_spelling(folder / name, model, sequences[-1])
    # In float64: the rounding of float32 would take up half of what the tests allow.
    golden |= gradients(load(folder / name).double(), sequences)
    golden |= {"greedy": greedy(model, sequences[0][:8])}
    write(folder / name / "golden.json", golden)
    return golden


def loader(config):
    """The class that holds all weights of a model: for one that also reads images, not its text-only class."""
    return AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM


def load(path, dtype=torch.float32):
    """A saved model, with attention and experts computed in the simplest way."""
    kind = loader(AutoConfig.from_pretrained(path))
    return kind.from_pretrained(
        path, dtype=dtype, attn_implementation="eager", experts_implementation="eager").eval()


def random_model(config):
    """Random weights everywhere; gains and biases too, so that forgetting one of them shows."""
    model = loader(config).from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("A_log"):  # decays slow enough for the state to matter
                parameter.copy_(torch.log(torch.rand_like(parameter) * 0.5 + 0.02))
            elif parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.copy_(torch.randn_like(parameter) * WEIGHT_DEVIATION)
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.copy_(torch.rand(1) * 0.5 + 0.5)
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
    if "dtype" in older:
        older["torch_dtype"] = older.pop("dtype")
    if "text_config" in older:
        older["text_config"] = older_spelling(older["text_config"])
        return older
    if older["model_type"] == "lfm3":  # newer than transformers 5
        return older
    if older["model_type"].startswith("gemma4"):  # newer than transformers 5, but published with other keys
        sizes = next(iter(older.pop("per_layer_config").values()))
        older["global_head_dim"] = sizes["head_dim"]
        older["num_global_key_value_heads"] = sizes.get("num_key_value_heads")
        return older
    rope = older.pop("rope_parameters")
    older["rope_scaling"] = None
    if "full_attention" in rope:
        full, sliding = rope["full_attention"], rope["sliding_attention"]
        older["rope_theta"] = full["rope_theta"]
        if full["rope_type"] != "default":
            older["rope_scaling"] = {key: full[key] for key in full if key != "rope_theta"}
        if sliding["rope_theta"] != full["rope_theta"]:
            older["rope_local_base_freq"] = sliding["rope_theta"]
            older.pop("_sliding_window_pattern", None)
            older["sliding_window_pattern"] = older.pop("layer_types").index("full_attention") + 1
    else:
        older["rope_theta"] = rope["rope_theta"]
        if rope["rope_type"] != "default":
            elsewhere = ("rope_theta", "partial_rotary_factor")
            older["rope_scaling"] = {key: rope[key] for key in rope if key not in elsewhere}
    if older["rope_scaling"] and rope.get("rope_type") == "longrope":
        older["rope_scaling"]["type"] = older["rope_scaling"].pop("rope_type")
        older["original_max_position_embeddings"] = older["rope_scaling"].pop("original_max_position_embeddings")
    return older


def check_older_spelling(folder, model, ids):
    """Writes `config_before_5.json` and makes sure that it means the same model."""
    path = folder / "config_before_5.json"
    configuration = older_spelling(json.loads((folder / "config.json").read_text()))
    path.write_text(json.dumps(configuration, indent=2, sort_keys=True) + "\n")
    config = AutoConfig.from_pretrained(path)
    older = loader(config).from_config(
        config, attn_implementation="eager", experts_implementation="eager").eval()
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


def named_gradients(model):
    """Every gradient under the name that the saved file has for its parameter; a vision tower has none."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            yield from in_files(model, name, parameter.grad)


def in_files(model, name, tensor):
    """A parameter, or its gradient, under the names that files have: each expert's matrices by themselves."""
    if hasattr(model.config, "residual_multiplier") and ".experts." in name:  # Granite, gate and up in one matrix
        module, projection = name.rsplit(".", 1)
        for index, own in enumerate(tensor):
            yield f"{module}.{index}.{projection}.weight", own
    elif hasattr(model.config, "swiglu_limit") and ".experts." in name:  # gpt-oss, whose matrices are transposed
        stem, kind = name.removesuffix("_bias"), "bias" if name.endswith("_bias") else "weight"
        module, projection = stem.rsplit(".", 1)
        for index, own in enumerate(tensor):
            yield f"{module}.{index}.{projection}.{kind}", own.mT if kind == "weight" else own
    elif name.endswith("experts.gate_up_proj"):
        for index, both in enumerate(tensor):
            gate, up = both.chunk(2)
            yield name.replace("gate_up_proj", f"{index}.gate_proj.weight"), gate
            yield name.replace("gate_up_proj", f"{index}.up_proj.weight"), up
    elif name.endswith("experts.down_proj"):
        for index, own in enumerate(tensor):
            yield name.replace("down_proj", f"{index}.down_proj.weight"), own
    else:
        yield name, tensor


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
    result = {name: summary(gradient) for name, gradient in named_gradients(model)}
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
