"""Writes a model of full size with random weights: random_checkpoint.py NAME FOLDER [TOKENIZER_FOLDER]

NAME is one of the configurations below, in the sizes that their makers publish. Weights are bfloat16, and the experts of gpt-oss
MXFP4. Models with a vision tower have their published nesting and names, without the tower's weights. Needs numpy.
"""

import json
import os
import shutil
import struct
import sys

import numpy


def config(type, width, inner, layers, heads, keys, vocabulary, **more):
    common = {
        "model_type": type, "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": keys, "vocab_size": vocabulary, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32768, "tie_word_embeddings": True,
    }
    return common | more


def nested(type, architecture, text):
    return {"architectures": [architecture], "model_type": type, "text_config": text,
            "tie_word_embeddings": text["tie_word_embeddings"]}


LLAMA_SCALING = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                 "original_max_position_embeddings": 8192}
GRANITE = {"rms_norm_eps": 1e-5, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.015625}
GEMMA4 = {"head_dim": 256, "global_head_dim": 512, "hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262144,
          "sliding_window": 512, "final_logit_softcapping": 30.0, "max_position_embeddings": 131072}
QWEN3_MOE = config(
    "qwen3_moe", 2048, 6144, 48, 32, 4, 151936, head_dim=128, num_experts=128, num_experts_per_tok=8,
    moe_intermediate_size=768, norm_topk_prob=True, rope_theta=1000000, tie_word_embeddings=False)
LFM2_ATTENTION = (2, 5, 9, 13, 17, 21, 25, 28)

# name -> configuration; "architectures" is added to those without.
CONFIGURATIONS = {
    "Llama-3.2-3B": config(
        "llama", 3072, 8192, 28, 24, 8, 128256, head_dim=128, rope_theta=500000.0, rope_scaling=LLAMA_SCALING,
        rms_norm_eps=1e-5, max_position_embeddings=131072),
    "Llama-3.1-8B": config(
        "llama", 4096, 14336, 32, 32, 8, 128256, head_dim=128, rope_theta=500000.0,
        rope_scaling=LLAMA_SCALING | {"factor": 8.0}, rms_norm_eps=1e-5, max_position_embeddings=131072,
        tie_word_embeddings=False),
    "SmolLM3-3B": config("smollm3", 2048, 11008, 36, 16, 4, 128256, rope_theta=5000000.0, max_position_embeddings=65536),
    "Qwen2.5-0.5B-Instruct": config("qwen2", 896, 4864, 24, 14, 2, 151936, rope_theta=1000000),
    "Qwen2.5-3B": config("qwen2", 2048, 11008, 36, 16, 2, 151936, rope_theta=1000000),
    "DeepSeek-R1-Distill-Qwen-1.5B": config(
        "qwen2", 1536, 8960, 28, 12, 2, 151936, rope_theta=10000, max_position_embeddings=131072, tie_word_embeddings=False),
    "Qwen3-0.6B": config(
        "qwen3", 1024, 3072, 28, 16, 8, 151936, head_dim=128, rope_theta=1000000, max_position_embeddings=40960),
    "Qwen3-0.6B-Base": config("qwen3", 1024, 3072, 28, 16, 8, 151936, head_dim=128, rope_theta=1000000),
    "Qwen3-4B": config(
        "qwen3", 2560, 9728, 36, 32, 8, 151936, head_dim=128, rope_theta=1000000, max_position_embeddings=40960),
    "Qwen3-30B-A3B": QWEN3_MOE,
    "Qwen3-30B-A3B, 12 of 48 layers": QWEN3_MOE | {"num_hidden_layers": 12},
    "Qwen3.5-4B": nested("qwen3_5", "Qwen3_5ForConditionalGeneration", config(
        "qwen3_5_text", 2560, 9216, 32, 16, 4, 248320, head_dim=256, linear_num_key_heads=16, linear_num_value_heads=32,
        linear_key_head_dim=128, linear_value_head_dim=128, linear_conv_kernel_dim=4,
        layer_types=(["linear_attention"] * 3 + ["full_attention"]) * 8, max_position_embeddings=262144,
        rope_parameters={"rope_type": "default", "rope_theta": 10000000, "partial_rotary_factor": 0.25,
                         "mrope_section": [11, 11, 10]})),
    "Phi-3-mini-4k-instruct": config(
        "phi3", 3072, 8192, 32, 32, 32, 32064, rope_theta=10000.0, max_position_embeddings=4096, sliding_window=2047,
        rms_norm_eps=1e-5, tie_word_embeddings=False),
    "Phi-4-mini-instruct": config(  # The factors are made up.
        "phi3", 3072, 8192, 32, 24, 8, 200064, rope_theta=10000.0, max_position_embeddings=131072,
        original_max_position_embeddings=4096, sliding_window=262144, partial_rotary_factor=0.75, rms_norm_eps=1e-5,
        rope_scaling={"type": "longrope", "short_factor": [1.0] * 48, "long_factor": [1.0 + index for index in range(48)]}),
    "Mistral-7B-v0.3": config(
        "mistral", 4096, 14336, 32, 32, 8, 32768, head_dim=128, rope_theta=1000000.0, rms_norm_eps=1e-5,
        tie_word_embeddings=False),
    "Ministral-3-3B": nested("mistral3", "Mistral3ForConditionalGeneration", config(
        "ministral3", 3072, 9216, 26, 32, 8, 131072, head_dim=128, rms_norm_eps=1e-5, max_position_embeddings=262144,
        rope_parameters={
            "rope_type": "yarn", "rope_theta": 1000000.0, "factor": 16.0, "original_max_position_embeddings": 16384,
            "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1})),
    "Gemma-2-2B": config(
        "gemma2", 2304, 9216, 26, 8, 4, 256000, head_dim=256, query_pre_attn_scalar=256, sliding_window=4096,
        final_logit_softcapping=30.0, attn_logit_softcapping=50.0, rope_theta=10000.0, max_position_embeddings=8192),
    "Gemma-3-4B": nested("gemma3", "Gemma3ForConditionalGeneration", config(
        "gemma3_text", 2560, 10240, 34, 8, 4, 262208, head_dim=256, query_pre_attn_scalar=256, sliding_window=1024,
        rope_scaling={"rope_type": "linear", "factor": 8.0}, max_position_embeddings=131072)),
    "Gemma-4-E2B": GEMMA4 | config(
        "gemma4_text", 1536, 6144, 35, 8, 1, 262144, num_kv_shared_layers=20, use_double_wide_mlp=True,
        layer_types=(["sliding_attention"] * 4 + ["full_attention"]) * 7),
    "Gemma-4-E4B": GEMMA4 | config(
        "gemma4_text", 2560, 10240, 42, 8, 2, 262144, num_kv_shared_layers=18,
        layer_types=(["sliding_attention"] * 5 + ["full_attention"]) * 7),
    "LFM2-2.6B": config(
        "lfm2", 2048, 10752, 30, 32, 8, 65536, block_auto_adjust_ff_dim=False, conv_L_cache=3, norm_eps=1e-5,
        rope_theta=1000000.0, max_position_embeddings=128000,
        layer_types=["full_attention" if index in LFM2_ATTENTION else "conv" for index in range(30)]),
    "LFM3-1.7B": config(
        "lfm3", 2048, 7680, 24, 16, 4, 128000, head_dim=128, conv_L_cache=7, norm_eps=1e-5, sliding_window=256,
        max_position_embeddings=128000,
        layer_types=["full_attention" if index % 4 == 2 else "sliding_attention" if index % 4 == 0 and index > 0 else "conv"
                     for index in range(24)]),
    "Granite-3.3-2B": GRANITE | config(
        "granite", 2048, 8192, 40, 32, 8, 49159, logits_scaling=8.0, rope_theta=10000000.0, max_position_embeddings=131072),
    "Granite-4.0-micro": GRANITE | config(
        "granitemoehybrid", 2560, 8192, 40, 40, 8, 100352, shared_intermediate_size=8192, num_local_experts=0,
        num_experts_per_tok=0, layer_types=["attention"] * 40, position_embedding_type="rope", logits_scaling=10.0,
        rope_theta=10000000.0, max_position_embeddings=131072),
    "Granite-3.1-3B-A800M": GRANITE | config(
        "granitemoe", 1536, 512, 32, 24, 8, 49155, num_local_experts=40, num_experts_per_tok=8, logits_scaling=6.0,
        rope_theta=10000000.0, max_position_embeddings=131072),
    "OLMo-2-1B": config(
        "olmo2", 2048, 8192, 16, 16, 16, 100352, rope_theta=500000.0, max_position_embeddings=4096, tie_word_embeddings=False),
    "OLMo-3-7B": config(
        "olmo3", 4096, 11008, 32, 32, 32, 100278, rope_theta=500000.0, sliding_window=4096, max_position_embeddings=65536,
        rope_scaling={"rope_type": "yarn", "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0,
                      "original_max_position_embeddings": 8192, "attention_factor": 1.2079441541679836},
        layer_types=(["sliding_attention"] * 3 + ["full_attention"]) * 8, tie_word_embeddings=False),
    "gpt-oss-20b": config(
        "gpt_oss", 2880, 2880, 24, 64, 8, 201088, head_dim=64, num_local_experts=32, num_experts_per_tok=4,
        sliding_window=128, rope_theta=150000, rope_scaling={
            "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
            "original_max_position_embeddings": 4096},
        rms_norm_eps=1e-5, max_position_embeddings=131072, tie_word_embeddings=False,
        quantization_config={"quant_method": "mxfp4"}),
}
ARCHITECTURES = {
    "llama": "LlamaForCausalLM", "smollm3": "SmolLM3ForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM", "phi3": "Phi3ForCausalLM", "mistral": "MistralForCausalLM",
    "gemma2": "Gemma2ForCausalLM", "gemma4_text": "Gemma4ForCausalLM", "lfm2": "Lfm2ForCausalLM", "lfm3": "Lfm3ForCausalLM",
    "granite": "GraniteForCausalLM", "granitemoehybrid": "GraniteMoeHybridForCausalLM", "granitemoe": "GraniteMoeForCausalLM",
    "olmo2": "Olmo2ForCausalLM", "olmo3": "Olmo3ForCausalLM", "gpt_oss": "GptOssForCausalLM",
}
# What files call modules that all families have.
FEED_FORWARD = {"mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2"}
MODULE_NAMES = {
    "lfm2": FEED_FORWARD | {
        "model.norm": "model.embedding_norm", "input_layernorm": "operator_norm", "post_attention_layernorm": "ffn_norm",
        "self_attn.o_proj": "self_attn.out_proj", "q_norm": "q_layernorm", "k_norm": "k_layernorm"},
    "lfm3": FEED_FORWARD | {
        "model.norm": "model.embedding_norm", "input_layernorm": "operator_norm",
        "post_attention_layernorm": "post_operator_norm", "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffn_norm"},
    "granitemoehybrid": {"mlp.gate_up_proj": "shared_mlp.input_linear", "mlp.down_proj": "shared_mlp.output_linear"},
    "granitemoe": {
        "mlp.experts.gate_up_proj": "block_sparse_moe.input_linear.weight",
        "mlp.experts.down_proj": "block_sparse_moe.output_linear.weight", "mlp.gate": "block_sparse_moe.router.layer"},
    "gemma3_text": {"model.": "language_model.model."},
    "ministral3": {"model.": "language_model.model."},
    "qwen3_5_text": {"model.": "model.language_model."},
}


def attention(config, layer_type, is_shared):
    """Names and shapes of a layer's attention."""
    type, width = config["model_type"], config["hidden_size"]
    size = config.get("head_dim", width // config["num_attention_heads"])
    if layer_type == "full_attention":
        size = config.get("global_head_dim", size)
    queries, keys = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    rows = {"q_proj": queries, "k_proj": keys, "v_proj": keys, "o_proj": width}
    if type == "phi3":
        rows = {"qkv_proj": queries + 2 * keys, "o_proj": width}
    if type == "qwen3_5_text":
        rows["q_proj"] *= 2
    if type == "lfm3":
        rows["gate_proj"] = config["num_attention_heads"]
    if is_shared:
        del rows["k_proj"], rows["v_proj"]
    for name, count in rows.items():
        yield f"{name}.weight", (count, queries if name == "o_proj" else width)
        if type == "gpt_oss" or type == "qwen2" and name != "o_proj":
            yield f"{name}.bias", (count,)
    if type == "gpt_oss":
        yield "sinks", (config["num_attention_heads"],)
    if type in ("qwen3", "qwen3_moe", "qwen3_5_text", "gemma3_text", "gemma4_text", "lfm2", "lfm3"):
        yield "q_norm.weight", (size,)
        if not is_shared:
            yield "k_norm.weight", (size,)
    if type in ("olmo2", "olmo3"):
        yield "q_norm.weight", (queries,)
        yield "k_norm.weight", (keys,)


def linear_attention(config):
    """Names and shapes of a layer of Qwen3.5 with linear attention."""
    width, heads = config["hidden_size"], config["linear_num_value_heads"]
    values = heads * config["linear_value_head_dim"]
    joined = 2 * config["linear_num_key_heads"] * config["linear_key_head_dim"] + values
    yield "A_log", (heads,)
    yield "dt_bias", (heads,)
    yield "conv1d.weight", (joined, 1, config["linear_conv_kernel_dim"])
    for name, rows in (("qkv", joined), ("z", values), ("b", heads), ("a", heads)):
        yield f"in_proj_{name}.weight", (rows, width)
    yield "norm.weight", (config["linear_value_head_dim"],)
    yield "out_proj.weight", (width, values)


def mlp(config, is_shared):
    """Names and shapes of a layer's MLP or mixture of experts."""
    type, width, inner = config["model_type"], config["hidden_size"], config["intermediate_size"]
    experts = config.get("num_local_experts") or config.get("num_experts")
    if type == "gpt_oss":
        yield "router.weight", (experts, width)
        yield "router.bias", (experts,)
        for name, rows, columns in (("gate_up_proj", 2 * inner, width), ("down_proj", width, inner)):
            yield f"experts.{name}_blocks", (experts, rows, columns // 32, 16)
            yield f"experts.{name}_scales", (experts, rows, columns // 32)
            yield f"experts.{name}_bias", (experts, rows)
    elif experts:
        yield "gate.weight", (experts, width)
        if type == "granitemoe":
            yield "experts.gate_up_proj", (experts, 2 * inner, width)
            yield "experts.down_proj", (experts, width, inner)
            return
        inner = config["moe_intermediate_size"]
        for index in range(experts):
            yield f"experts.{index}.gate_proj.weight", (inner, width)
            yield f"experts.{index}.up_proj.weight", (inner, width)
            yield f"experts.{index}.down_proj.weight", (width, inner)
    else:
        if is_shared and config.get("use_double_wide_mlp"):
            inner *= 2
        if type in ("phi3", "granitemoehybrid"):
            yield "gate_up_proj.weight", (2 * inner, width)
        else:
            yield "gate_proj.weight", (inner, width)
            yield "up_proj.weight", (inner, width)
        yield "down_proj.weight", (width, inner)


def modules(config):
    """Names and shapes in the order of the modules, with names as in Llama where a family has others."""
    type, width = config["model_type"], config["hidden_size"]
    layers, part = config["num_hidden_layers"], config.get("hidden_size_per_layer_input", 0)
    norms = ["input_layernorm", "post_attention_layernorm"]
    if type in ("olmo2", "olmo3"):
        norms = ["post_attention_layernorm", "post_feedforward_layernorm"]
    if type in ("gemma2", "gemma3_text", "gemma4_text", "lfm3"):
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    if part:
        norms.append("post_per_layer_input_norm")
    yield "model.embed_tokens.weight", (config["vocab_size"], width)
    if part:
        yield "model.embed_tokens_per_layer.weight", (config["vocab_size"], layers * part)
        yield "model.per_layer_model_projection.weight", (layers * part, width)
        yield "model.per_layer_projection_norm.weight", (part,)
    for index in range(layers):
        layer = f"model.layers.{index}."
        layer_type = config["layer_types"][index] if "layer_types" in config else "full_attention"
        is_shared = index >= layers - config.get("num_kv_shared_layers", 0)
        for name in norms:
            yield f"{layer}{name}.weight", (width,)
        if layer_type == "linear_attention":
            for name, shape in linear_attention(config):
                yield f"{layer}linear_attn.{name}", shape
        elif layer_type == "conv":
            yield layer + "conv.in_proj.weight", (3 * width, width)
            yield layer + "conv.conv.weight", (width, 1, config["conv_L_cache"])
            yield layer + "conv.out_proj.weight", (width, width)
        else:
            for name, shape in attention(config, layer_type, is_shared):
                yield f"{layer}self_attn.{name}", shape
        for name, shape in mlp(config, is_shared):
            yield f"{layer}mlp.{name}", shape
        if part:
            yield layer + "per_layer_input_gate.weight", (part, width)
            yield layer + "per_layer_projection.weight", (width, part)
        if type == "gemma4_text":
            yield layer + "layer_scalar", (1,)
    yield "model.norm.weight", (width,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], width)


def tensors(config):
    """Names and shapes as files have them."""
    for name, shape in modules(config):
        for own, other in MODULE_NAMES.get(config["model_type"], {}).items():
            # A module's whole name, or the prefix of all.
            if own == "model.":
                name = name.replace(own, other, 1)
            else:
                name = f".{name}.".replace(f".{own}.", f".{other}.").strip(".")
        yield name, shape


def bfloat16(values):
    return (values.astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16)


def main():
    name, folder = sys.argv[1], sys.argv[2]
    config = CONFIGURATIONS[name] | {"torch_dtype": "bfloat16"}
    text_config = config.get("text_config", config)
    if "architectures" not in config:
        config["architectures"] = [ARCHITECTURES[config["model_type"]]]
    os.makedirs(folder, exist_ok=True)
    header, offset = {}, 0
    for tensor, shape in tensors(text_config):
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
    large = bfloat16(random.normal(0, 1, 1 << 24))
    type = text_config["model_type"]
    spreads = type in ("qwen3_moe", "gpt_oss")
    start = 0
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor, entry in header.items():
            count = (entry["data_offsets"][1] - entry["data_offsets"][0]) // 2
            if tensor.endswith("_scales"):  # 2^-7: weights up to 6/128
                file.write(b"\x78" * (2 * count))
                continue
            if "norm" in tensor or "scalar" in tensor:
                value = 1
                # Gemma 4 leaves the scale of attention scores to this norm. With ones, attention would be nearly one-hot, and
                # every layer would amplify rounding.
                if type == "gemma4_text" and "q_norm" in tensor:
                    value = 1 / 16
                # These are stored as offsets from 1.
                if type in ("gemma2", "gemma3_text", "qwen3_5_text") and "linear_attn" not in tensor:
                    value = 0
                file.write(bfloat16(numpy.full(count, value)).tobytes())
                continue
            numbers = codes if tensor.endswith("_blocks") else block
            # Beside numbers like these the means that attention adds to all tokens would be large, and all would go to the same
            # experts. A head of its own keeps logits as they are.
            if "embed_tokens" in tensor and spreads:
                numbers = large
            while count > 0:
                part = numbers[start:start + count]
                file.write(part.tobytes())
                count -= len(part)
                start = (start + len(part) + 7919) % (1 << 23)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    if len(sys.argv) > 3:
        for entry in os.listdir(sys.argv[3]):
            shutil.copy(os.path.join(sys.argv[3], entry), folder)


if __name__ == "__main__":
    main()
