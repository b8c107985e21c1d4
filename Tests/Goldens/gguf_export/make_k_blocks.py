"""A tensor, and the bytes of its q4_K, q6_K and q5_0 blocks by ggml's own library, without an importance matrix.

    pip install ggml-py==0.10.1 numpy safetensors && python make_k_blocks.py
"""

import ctypes
from pathlib import Path

import ggml
import numpy as np
from safetensors.numpy import save_file

library = ctypes.CDLL(str(next((Path(ggml.__file__).parent / "lib").glob("libggml-base.so"))))
library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [
    ctypes.c_void_p]
# type -> (its number, elements and bytes of a block)
TYPES = {"q4_K": (12, 256, 144), "q6_K": (14, 256, 210), "q5_0": (6, 32, 22)}


def values():
    """Rows of many distributions and magnitudes, with zeros, ties, one sign, and few elements that aren't zero."""
    random = np.random.default_rng(11)
    rows = [random.standard_normal(512) * scale for scale in (0.05, 1, 1e-6, 1e-13, 1e3) for _ in range(3)]
    rows += [random.uniform(0, 1, 512), -np.abs(random.standard_normal(512)), random.standard_t(2, 512) * 0.01]
    rows += [random.integers(-3, 4, 512) / 4, random.integers(-16, 17, 512) / 8, np.zeros(512), np.full(512, 0.3)]
    rows += [np.where(random.random(512) < 0.97, 0, random.standard_normal(512)) for _ in range(2)]
    rows += [np.where(np.arange(512) % 2 == 0, 2.5, -2.5)]
    return np.stack(rows).astype(np.float32)


def quantized(x, kind):
    number, length, size = TYPES[kind]
    x = np.ascontiguousarray(x)
    out = np.zeros((x.shape[0], x.shape[1] // length * size), np.uint8)
    library.ggml_quantize_chunk(number, x.ctypes.data, out.ctypes.data, 0, x.shape[0], x.shape[1], None)
    return out


x = values()
save_file({"values": x} | {kind: quantized(x, kind) for kind in TYPES}, Path(__file__).with_name("k_blocks.safetensors"))
print(x.shape)
