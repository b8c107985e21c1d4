"""Tiny models in MLX's codes as mlx-lm saves them, and their logits in float32.

    python3.11 -m venv mlx && mlx/bin/pip install 'mlx[cpu]==0.32.4' mlx-lm==0.32.2
    mlx/bin/python make_goldens.py

The models are those of `models/`, converted to 16 bits first, as `mlx_lm.convert` does; or what another folder has in codes.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.utils import load_model, quantize_model, save_config, save_model

mx.set_default_device(mx.cpu)
HERE = Path(__file__).resolve().parent
# name -> (model, float type, group size, bits, mode)
MODELS = {
    # The rows of some of its matrices are no whole groups of 64, so these stay floats.
    "llama_4bit": ("llama", mx.bfloat16, 64, 4, "affine"),
    "qwen3_8bit": ("qwen3", mx.float16, 32, 8, "affine"),
    # Convolutions and norms have another layout in mlx-lm.
    "qwen3_5_4bit": ("qwen3_5", mx.bfloat16, 32, 4, "affine"),
    "llama_mxfp4": ("llama", mx.bfloat16, 32, 4, "mxfp4"),
    # All experts in one tensor; some of their rows are no whole groups.
    "qwen3_moe_4bit": ("qwen3_moe", mx.bfloat16, 32, 4, "affine"),
    "granitemoe_4bit": ("granitemoe", mx.bfloat16, 32, 4, "affine"),
    # Experts in MXFP4, which stay so.
    "gpt_oss_mxfp4": ("../quantization/gpt_oss_mxfp4", mx.bfloat16, 32, 8, "affine"),
}


def in_type(model, dtype):
    model.update(tree_map(lambda x: x.astype(dtype) if mx.issubdtype(x.dtype, mx.floating) else x, model.parameters()))


def logits(model, ids):
    values = model(mx.array([ids]))[0].astype(mx.float32)
    return [[float(f"{value:.8g}") for value in row] for row in values.tolist()]


def predicate(group_size):
    """Routers in 8 bits, as mlx-lm has them, in groups that are not larger than the rows of the tiny models."""
    routers = ("mlp.gate", "router.layer", "mlp.router")
    return lambda path, _: {"group_size": group_size, "bits": 8} if path.endswith(routers) else True


def configuration(source):
    """The configuration of a folder of transformers, in the words that mlx-lm looks for."""
    config = json.loads((source / "config.json").read_text())
    text = config.get("text_config", {})
    if "linear_attention" in text.get("layer_types", []):  # which mlx-lm doesn't read
        text["full_attention_interval"] = text["layer_types"].index("full_attention") + 1
        text["tie_word_embeddings"] = config["tie_word_embeddings"]
    if "num_local_experts" in config:  # mlx-lm's mixtures of experts have the names of transformers 4
        config["num_experts"] = config["num_local_experts"]
        config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    rope = config.get("rope_parameters", {})
    if rope.get("rope_type") == "yarn":
        rope["truncate"] = True  # mlx-lm always rounds the bounds
        config["rope_scaling"] = rope
    return config


def make(name):
    base, dtype, group_size, bits, mode = MODELS[name]
    source = (HERE.parent / "models" / base).resolve()
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model, config = load_model(source, model_config=configuration(source))
    in_type(model, dtype)
    config["dtype"] = str(dtype).removeprefix("mlx.core.")
    config.get("text_config", {}).pop("dtype", None)
    model, config = quantize_model(model, config, group_size, bits, mode, quant_predicate=predicate(group_size))
    with tempfile.TemporaryDirectory() as scratch:
        save_model(scratch, model, donate_model=False)
        shutil.copyfile(Path(scratch) / "model.safetensors", folder / "model.safetensors")
    save_config(config, folder / "config.json")
    model, _ = load_model(folder)
    in_type(model, mx.float32)
    golden = json.loads((source / "golden.json").read_text())
    ids = golden["ids"] if "ids" in golden else golden["sequences"][0]["ids"]
    values = {"base": str(source.relative_to(HERE.parent)), "ids": ids, "logits": logits(model, ids)}
    (folder / "golden.json").write_text(json.dumps(values) + "\n")
    print(name, sum(file.stat().st_size for file in folder.iterdir()))


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        make(name)
