"""Writes a model of full size with random bfloat16 weights: random_checkpoint.py NAME FOLDER [TOKENIZER_FOLDER]

NAME is one of the configurations below, as their makers publish them. Needs numpy.
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
}


def tensors(config):
    """Names and shapes in the order of the modules."""
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
        end = offset + 2 * int(numpy.prod(shape))
        header[tensor] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # One block of random numbers, begun anywhere: random enough, and quickly made.
    block = bfloat16(numpy.random.default_rng(0).normal(0, 0.02, 1 << 24))
    ones = bfloat16(numpy.ones(1 << 14))
    start = 0
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor, entry in header.items():
            count = (entry["data_offsets"][1] - entry["data_offsets"][0]) // 2
            if "norm" in tensor:
                file.write(ones[:count].tobytes())
                continue
            while count > 0:
                part = block[start:start + count]
                file.write(part.tobytes())
                count -= len(part)
                start = (start + len(part) + 7919) % (1 << 23)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    if len(sys.argv) > 3:
        for entry in os.listdir(sys.argv[3]):
            shutil.copy(os.path.join(sys.argv[3], entry), folder)


main()
