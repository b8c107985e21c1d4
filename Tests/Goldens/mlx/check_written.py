"""Opens what `swiftlet export --format mlx` wrote in mlx-lm, and compares logits with transformers' and PEFT's.

    for name in lora dora; do
      swiftlet export --format mlx --adapter Tests/Goldens/training/$name/adapter --base Tests/Goldens/models/llama \
        --output /tmp/mlx/$name
    done
    swiftlet export --format mlx --adapter Tests/Goldens/peft/qwen3_moe_experts --base Tests/Goldens/models/qwen3_moe \
      --output /tmp/mlx/qwen3_moe_experts
    mlx/bin/python check_written.py /tmp/mlx
    mlx/bin/python check_written.py --model /tmp/mlx/model llama_4bit
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model

from make_goldens import configuration, in_type

mx.set_default_device(mx.cpu)
GOLDENS = Path(__file__).resolve().parent.parent


def error(model, golden):
    in_type(model, mx.float32)
    found = np.array(model(mx.array([golden["ids"]]))[0])
    expected = np.array(golden["logits"], np.float32)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


if sys.argv[1] == "--model":
    model, _ = load_model(Path(sys.argv[2]))
    print(sys.argv[2], error(model, json.loads((GOLDENS / "mlx" / sys.argv[3] / "golden.json").read_text())))
else:
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        golden = json.loads((GOLDENS / "peft" / f"{folder.name}.json").read_text())
        base = GOLDENS / golden["base"]
        model, _ = load_model(base, model_config=configuration(base))
        print(folder.name, error(load_adapters(model, str(folder)), golden))
