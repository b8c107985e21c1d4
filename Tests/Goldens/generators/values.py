"""How reference values are rounded, summarized and written: small files that read well in a diff."""

import json
import math
import os
import zlib

import torch


def seed(name):
    """Seeds torch from a name, so that adding one golden never changes another."""
    torch.manual_seed(zlib.crc32(name.encode()))


def rounded(value, digits=8):
    """Numbers to `digits` significant decimal digits (9 are enough to restore any float32)."""
    if isinstance(value, torch.Tensor):
        value = value.detach().to(torch.float64).tolist()
    if isinstance(value, (list, tuple)):
        return [rounded(element, digits) for element in value]
    if isinstance(value, dict):
        return {key: rounded(element, digits) for key, element in value.items()}
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{digits}g}")
    return value


def summary(tensor, first=16):
    """A tensor in a few numbers: sum and L2 norm in float64, and its first elements in row-major order."""
    flat = tensor.detach().to(torch.float64).flatten()
    return {
        "shape": list(tensor.shape),
        "sum": rounded(flat.sum().item(), 9),
        "l2": rounded(flat.norm().item(), 9),
        "first": rounded(flat[:first], 9),
    }


def text(value, indent=""):
    """JSON with one member a line, and every list of plain values and every small object of them on one line."""
    deeper = indent + " "
    plain = isinstance(value, dict) and not any(isinstance(element, (dict, list, tuple)) for element in value.values())
    if isinstance(value, dict) and value and not (plain and len(value) <= 8):
        members = [f"{deeper}{json.dumps(key)}: {text(element, deeper)}" for key, element in value.items()]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, (list, tuple)) and any(isinstance(element, (dict, list, tuple)) for element in value):
        return "[\n" + ",\n".join(deeper + text(element, deeper) for element in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(path, value):
    """Writes `value` as JSON, replacing what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text(value) + "\n", encoding="utf-8")
    os.replace(temporary, path)
