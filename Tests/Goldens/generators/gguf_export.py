"""What llama.cpp's tools make of adapters and of float32 tensors.

`gguf_export/<name>.gguf` is convert_lora_to_gguf.py's conversion of an adapter; `blocks.safetensors` has a float32 tensor
and the bytes of its q8_0 and q4_0 blocks by the gguf package's reference quantizers.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# name -> (base, adapter)
ADAPTERS = {
    "lora": ("models/llama", "training/lora/adapter"),
    "fused": ("models/phi3", "peft/fused"),
    "qwen3_5_gguf": ("models/qwen3_5_gguf", "peft/qwen3_5_gguf"),
}


# The tiny models have no blocks that predict further tokens, of which the converter expects some in Qwen3.5.
CONVERT = """
import runpy, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from conversion import ModelBase
ModelBase.no_mtp = True
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def blocks():
    """Rows of many magnitudes, with ties in rounding, equal magnitudes of both signs, zeros and tiny numbers."""
    random = np.random.default_rng(5)
    rows = [random.standard_normal(64) * scale for scale in (1, 1e-3, 1e-8, 300, 6e4) for _ in range(8)]
    rows += [random.integers(-127, 128, 64) / 2 for _ in range(8)]
    rows += [random.integers(-16, 17, 64) / 4 for _ in range(8)]
    rows += [np.zeros(64), np.full(64, 1e-30), np.full(64, -0.0), np.where(np.arange(64) % 2 == 0, 2.5, -2.5)]
    rows += [np.where(np.arange(64) % 2 == 0, -2.5, 2.5), np.arange(64) - 31.5, np.eye(64)[5], -np.eye(64)[40]]
    return np.concatenate([np.stack(rows).astype(np.float32), near_ties()])


def near_ties():
    """Rows with an element whose q4_0 nibble is another where 8.5 is added in a fused operation."""
    rows = (np.random.default_rng(7).integers(-64, 65, (400_000, 64)) / 8).astype(np.float32)
    parts = rows.reshape(-1, 32)
    largest = np.take_along_axis(parts, np.abs(parts).argmax(1)[:, None], 1)
    inverse = np.float32(1) / (largest / np.float32(-8))
    apart = np.trunc(parts * inverse + np.float32(8.5))
    fused = np.trunc((parts.astype(np.float64) * inverse + 8.5).astype(np.float32))
    return rows[(apart != fused).reshape(len(rows), -1).any(1)][:12]


def make(folder, arguments):
    goldens = folder.parent
    folder.mkdir(exist_ok=True)
    sys.path.insert(0, str(arguments.llama_cpp / "gguf-py"))
    import gguf

    values = blocks()
    save_file({
        "values": values,
        "q8_0": gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0),
        "q4_0": gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_0),
    }, folder / "blocks.safetensors")
    for name in arguments.names or ADAPTERS:
        base, adapter = ADAPTERS[name]
        with tempfile.TemporaryDirectory() as scratch:
            # The adapter's folder names the file's metadata.
            copy = Path(scratch) / name
            shutil.copytree(goldens / adapter, copy)
            subprocess.run([
                sys.executable, "-c", CONVERT, arguments.llama_cpp / "convert_lora_to_gguf.py", copy, "--base", goldens / base,
                "--outtype", "f32", "--outfile", folder / f"{name}.gguf",
            ], check=True)
