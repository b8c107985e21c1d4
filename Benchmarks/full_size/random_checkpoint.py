"""Writes a model of full size with random weights: random_checkpoint.py NAME FOLDER [TOKENIZER_FOLDER]

NAME is one of the configurations below, in the sizes that their makers publish. Weights are bfloat16, and the experts of gpt-oss
MXFP4. Needs numpy.
"""

import json
import os
import shutil
import struct
import sys

import numpy

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "rms_norm_eps": 1e-6, "rope_theta": 1000000, "max_position_embeddings": 40960, "tie_word_embeddings": True,
}
CONFIGURATIONS = {
    "Qwen3-0.6B": QWEN3,
    "Qwen3-0.6B-Base": QWEN3 | {"max_position_embeddings": 32768},
    "Qwen2.5-0.5B-Instruct": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000, "max_position_embeddings": 32768, "tie_word_embeddings": True,
    },
    "DeepSeek-R1-Distill-Qwen-1.5B": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960,
        "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936,
        "rms_norm_eps": 1e-6, "rope_theta": 10000, "max_position_embeddings": 131072, "tie_word_embeddings": False,
    },
    "Phi-3-mini-4k-instruct": {
        "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 4096, "sliding_window": 2047,
        "tie_word_embeddings": False,
    },
    "Gemma-4-E2B": {
        "architectures": ["Gemma4ForCausalLM"], "model_type": "gemma4_text", "hidden_size": 1536,
        "intermediate_size": 6144, "num_hidden_layers": 35, "num_attention_heads": 8, "num_key_value_heads": 1,
        "head_dim": 256, "global_head_dim": 512, "num_kv_shared_layers": 20, "use_double_wide_mlp": True,
        "hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262144, "vocab_size": 262144,
        "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7, "sliding_window": 512,
        "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6, "max_position_embeddings": 131072,
        "tie_word_embeddings": True,
    },
    "gpt-oss-20b": {
        "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880,
        "num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
        "num_local_experts": 32, "num_experts_per_tok": 4, "vocab_size": 201088, "sliding_window": 128,
        "rope_theta": 150000, "rope_scaling": {
            "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
            "original_max_position_embeddings": 4096,
        },
        "rms_norm_eps": 1e-5, "max_position_embeddings": 131072, "tie_word_embeddings": False,
        "quantization_config": {"quant_method": "mxfp4"},
    },
}


def gemma4(config):
    width, types = config["hidden_size"], config["layer_types"]
    layers, part = config["num_hidden_layers"], config["hidden_size_per_layer_input"]
    yield "model.embed_tokens.weight", (config["vocab_size"], width)
    yield "model.embed_tokens_per_layer.weight", (config["vocab_size"], layers * part)
    yield "model.per_layer_model_projection.weight", (layers * part, width)
    yield "model.per_layer_projection_norm.weight", (part,)
    for index in range(layers):
        layer = f"model.layers.{index}."
        is_shared = index >= layers - config["num_kv_shared_layers"]
        size = config["head_dim"] if types[index] == "sliding_attention" else config["global_head_dim"]
        queries, keys = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
        inner = config["intermediate_size"] * (2 if is_shared else 1)
        for name in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                     "post_feedforward_layernorm", "post_per_layer_input_norm"):
            yield f"{layer}{name}.weight", (width,)
        yield layer + "self_attn.q_proj.weight", (queries, width)
        yield layer + "self_attn.q_norm.weight", (size,)
        if not is_shared:
            yield layer + "self_attn.k_proj.weight", (keys, width)
            yield layer + "self_attn.v_proj.weight", (keys, width)
            yield layer + "self_attn.k_norm.weight", (size,)
        yield layer + "self_attn.o_proj.weight", (width, queries)
        yield layer + "mlp.gate_proj.weight", (inner, width)
        yield layer + "mlp.up_proj.weight", (inner, width)
        yield layer + "mlp.down_proj.weight", (width, inner)
        yield layer + "per_layer_input_gate.weight", (part, width)
        yield layer + "per_layer_projection.weight", (width, part)
        yield layer + "layer_scalar", (1,)
    yield "model.norm.weight", (width,)


def gpt_oss(config):
    width, inner, experts = config["hidden_size"], config["intermediate_size"], config["num_local_experts"]
    queries, keys = config["num_attention_heads"] * config["head_dim"], config["num_key_value_heads"] * config["head_dim"]
    yield "model.embed_tokens.weight", (config["vocab_size"], width)
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}."
        yield layer + "input_layernorm.weight", (width,)
        for name, rows, columns in (("q_proj", queries, width), ("k_proj", keys, width), ("v_proj", keys, width),
                                    ("o_proj", width, queries)):
            yield f"{layer}self_attn.{name}.weight", (rows, columns)
            yield f"{layer}self_attn.{name}.bias", (rows,)
        yield layer + "self_attn.sinks", (config["num_attention_heads"],)
        yield layer + "post_attention_layernorm.weight", (width,)
        yield layer + "mlp.router.weight", (experts, width)
        yield layer + "mlp.router.bias", (experts,)
        for name, rows, columns in (("gate_up_proj", 2 * inner, width), ("down_proj", width, inner)):
            yield f"{layer}mlp.experts.{name}_blocks", (experts, rows, columns // 32, 16)
            yield f"{layer}mlp.experts.{name}_scales", (experts, rows, columns // 32)
            yield f"{layer}mlp.experts.{name}_bias", (experts, rows)
    yield "model.norm.weight", (width,)
    yield "lm_head.weight", (config["vocab_size"], width)


def tensors(config):
    """Names and shapes in the order of the modules."""
    if config["model_type"] in ("gemma4_text", "gpt_oss"):
        yield from (gemma4 if config["model_type"] == "gemma4_text" else gpt_oss)(config)
        return
    width, inner = config["hidden_size"], config["intermediate_size"]
    size = config.get("head_dim", width // config["num_attention_heads"])
    queries, keys = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    yield "model.embed_tokens.weight", (config["vocab_size"], width)
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}."
        yield layer + "input_layernorm.weight", (width,)
        if config["model_type"] == "phi3":
            yield layer + "self_attn.qkv_proj.weight", (queries + 2 * keys, width)
        else:
            for name, rows in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
                yield f"{layer}self_attn.{name}.weight", (rows, width)
                if config["model_type"] == "qwen2":
                    yield f"{layer}self_attn.{name}.bias", (rows,)
        if config["model_type"] == "qwen3":
            yield layer + "self_attn.q_norm.weight", (size,)
            yield layer + "self_attn.k_norm.weight", (size,)
        yield layer + "self_attn.o_proj.weight", (width, queries)
        yield layer + "post_attention_layernorm.weight", (width,)
        if config["model_type"] == "phi3":
            yield layer + "mlp.gate_up_proj.weight", (2 * inner, width)
        else:
            yield layer + "mlp.gate_proj.weight", (inner, width)
            yield layer + "mlp.up_proj.weight", (inner, width)
        yield layer + "mlp.down_proj.weight", (width, inner)
    yield "model.norm.weight", (width,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], width)


def bfloat16(values):
    return (values.astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16)


def main():
    name, folder = sys.argv[1], sys.argv[2]
    config = CONFIGURATIONS[name] | {"torch_dtype": "bfloat16"}
    os.makedirs(folder, exist_ok=True)
    header, offset = {}, 0
    for tensor, shape in tensors(config):
        is_code = tensor.endswith(("_blocks", "_scales"))
        end = offset + (1 if is_code else 2) * int(numpy.prod(shape))
        header[tensor] = {
            "dtype": "U8" if is_code else "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # One block of random numbers, begun anywhere: random enough, and quickly made.
    random = numpy.random.default_rng(0)
    block = bfloat16(random.normal(0, 0.02, 1 << 24))
    # Not the bytes of bfloat16 numbers, which are much alike: all tokens would go to the same experts.
    codes = random.integers(0, 1 << 16, 1 << 24, numpy.uint16)
    ones = bfloat16(numpy.ones(1 << 14))
    sixteenths = bfloat16(numpy.full(1 << 14, 1 / 16))
    start = 0
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor, entry in header.items():
            count = (entry["data_offsets"][1] - entry["data_offsets"][0]) // 2
            if tensor.endswith("_scales"):  # 2^-7: weights up to 6/128
                file.write(b"\x78" * (2 * count))
                continue
            if "norm" in tensor or "scalar" in tensor:
                # Gemma 4 leaves the scale of attention scores to this norm. With ones, attention would be nearly one-hot, and
                # every layer would amplify rounding.
                scales_scores = config["model_type"] == "gemma4_text" and "q_norm" in tensor
                file.write((sixteenths if scales_scores else ones)[:count].tobytes())
                continue
            while count > 0:
                part = (codes if tensor.endswith("_blocks") else block)[start:start + count]
                file.write(part.tobytes())
                count -= len(part)
                start = (start + len(part) + 7919) % (1 << 23)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    if len(sys.argv) > 3:
        for entry in os.listdir(sys.argv[3]):
            shutil.copy(os.path.join(sys.argv[3], entry), folder)


main()
