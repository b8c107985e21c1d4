"""Makes the files in this folder with the packages that define the formats.

Run in an environment with torch 2.8 or later, safetensors 0.8.0, gguf 0.19.0 and numpy:  python make_goldens.py
"""
import json
import pathlib

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
ROWS = 4

# Type, blocks in a row, and where the half-precision scales stand in a block.
BLOCK_TYPES = [
    ("Q4_0", 3, [0]),
    ("Q4_1", 3, [0, 2]),
    ("Q5_0", 3, [0]),
    ("Q5_1", 3, [0, 2]),
    ("Q8_0", 3, [0]),
    ("Q2_K", 2, [80, 82]),
    ("Q3_K", 2, [108]),
    ("Q4_K", 2, [0, 2]),
    ("Q5_K", 2, [0, 2]),
    ("Q6_K", 2, [208]),
]
# Types with blocks of their own only, not in types.gguf.
LATER_BLOCK_TYPES = [("IQ4_NL", 3, [0]), ("IQ4_XS", 2, [0]), ("MXFP4", 3, [])]


def block_goldens(random, types):
    """Random bytes with scales of a sane size, and what gguf makes of them."""
    made = {}
    for name, per_row, scales in types:
        kind = gguf.GGMLQuantizationType[name]
        length, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (ROWS, per_row, size), dtype=np.uint8)
        for at in scales:
            values = (random.standard_normal((ROWS, per_row)) * 0.05).astype(np.float16)
            blocks[:, :, at : at + 2] = values.view(np.uint8).reshape(ROWS, per_row, 2)
        if name == "MXFP4":  # exponents
            blocks[:, :, 0] = random.integers(118, 128, (ROWS, per_row), dtype=np.uint8)
        packed = blocks.reshape(ROWS, per_row * size)
        floats = gguf.dequantize(packed, kind).astype("<f4")
        assert floats.shape == (ROWS, per_row * length) and np.isfinite(floats).all()
        (HERE / "blocks" / f"{name}.blocks").write_bytes(packed.tobytes())
        (HERE / "blocks" / f"{name}.f32").write_bytes(floats.tobytes())
        made[name] = (kind, packed)
    return made


def plain_tensors():
    torch.manual_seed(7)
    floats = torch.randn(3, 5, dtype=torch.float64)
    integers = torch.tensor([[-100, -1, 0], [1, 7, 100]])
    return {
        "f64": floats,
        "f32": floats.float(),
        "f16": floats.half(),
        "bf16": floats.bfloat16(),
        "i64": integers * 10**15,
        "i32": (integers * 10**7).int(),
        "i16": (integers * 300).short(),
        "i8": integers.to(torch.int8),
        "u8": torch.tensor([0, 1, 127, 128, 255], dtype=torch.uint8),
        "bool": torch.tensor([[True, False, True]]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "名字/é": torch.tensor([1.0, 2.0]),
    }


def described(tensors):
    names = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
             "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL"}
    return [
        {"name": name, "type": names[str(t.dtype).removeprefix("torch.")], "shape": list(t.shape),
         "hex": raw(t).hex()}
        for name, t in tensors.items()
    ]


def raw(tensor):
    return bytes(tensor.contiguous().flatten().view(torch.uint8).tolist()) if tensor.numel() else b""


def write_json(name, value):
    (HERE / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def safetensors_goldens():
    tensors = plain_tensors()
    metadata = {"format": "pt", "说明": "中文 粵語 🙂"}
    save_file(tensors, HERE / "types.safetensors", metadata)
    write_json("types.safetensors.json", {"metadata": metadata, "tensors": described(tensors)})

    folder = HERE / "sharded"
    folder.mkdir(exist_ok=True)
    weights = {f"layer.{i}.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) + 10 * i for i in range(3)}
    shards = [["layer.0.weight", "layer.1.weight"], ["layer.2.weight"]]
    weight_map = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file({n: weights[n] for n in names}, folder / file, {"format": "pt"})
        weight_map |= {n: file for n in names}
    index = {"metadata": {"total_size": 72}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def gguf_goldens(blocks):
    writer = gguf.GGUFWriter(str(HERE / "types.gguf"), "llama")
    writer.add_uint8("test.uint8", 200)
    writer.add_int8("test.int8", -100)
    writer.add_uint16("test.uint16", 60000)
    writer.add_int16("test.int16", -30000)
    writer.add_uint32("test.uint32", 4_000_000_000)
    writer.add_int32("test.int32", -2_000_000_000)
    writer.add_uint64("test.uint64", 2**63 + 5)
    writer.add_int64("test.int64", -(2**62))
    writer.add_float32("test.float32", 1e-5)
    writer.add_float64("test.float64", 1e-300)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "中文 粵語 🙂 é")
    writer.add_array("test.strings", ["a", "", "中文", "Ġthe"])
    writer.add_array("test.int32s", [1, -2, 3])
    writer.add_array("test.float32s", [0.5, -1.25])
    writer.add_array("test.bools", [True, False])
    writer.add_array("test.nested", [[1, 2], [3]])
    plain = plain_tensors()
    kept = {n: plain[n] for n in ["f64", "f32", "f16", "i64", "i32", "i16", "i8", "名字/é"]}
    for name, tensor in kept.items():
        writer.add_tensor(name, tensor.numpy())
    bf16 = plain["bf16"].view(torch.uint8).numpy()
    writer.add_tensor("bf16", bf16, raw_dtype=gguf.GGMLQuantizationType.BF16)
    for name, (kind, packed) in blocks.items():
        writer.add_tensor(name, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    kept["bf16"] = plain["bf16"]
    write_json("types.gguf.json", {"tensors": described(kept), "blocks": [
        {"name": n, "shape": [ROWS, p * gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[n]][0]]}
        for n, p, _ in BLOCK_TYPES]})


if __name__ == "__main__":
    (HERE / "blocks").mkdir(exist_ok=True)
    safetensors_goldens()
    gguf_goldens(block_goldens(np.random.default_rng(20), BLOCK_TYPES))
    block_goldens(np.random.default_rng(21), LATER_BLOCK_TYPES)
