"""bitsandbytes: 4-bit tensors, 4-bit checkpoints, training over a 4-bit base, and the states of 8-bit AdamW.

`quantization/tensors.safetensors` holds inputs and, for every input and setting, what bitsandbytes makes of it, under
the names that a checkpoint would use. `quantization/<folder>/` are checkpoints as `save_pretrained` writes them.
"""

import json
import logging
import shutil
import tempfile
from pathlib import Path

import bitsandbytes
import torch
from bitsandbytes import functional
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from .models import forward, load
from .smollm2 import value_by_formula
from .training import BATCH, ACCUMULATION, STEPS, make_rows, placeholder_tokenizer, train, trained_tensors
from .values import seed, summary, write

# Every input is quantized with each of these: type, block size, absmax quantized too.
SETTINGS = [(kind, block, nested) for kind in ("nf4", "fp4") for block in (64, 128) for nested in (False, True)]
# name -> (base, type of what stays unquantized, settings)
CHECKPOINTS = {
    "llama_nf4": ("llama", torch.float32, {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}),
    "llama_tied_nf4_bf16": (
        "llama_tied",
        torch.bfloat16,
        {"bnb_4bit_quant_type": "nf4", "llm_int8_skip_modules": ["lm_head", "model.layers.0.mlp.down_proj"]},
    ),
    "phi3_fp4_f16": ("phi3", torch.float16, {"bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": True}),
}
# name -> type of A and B while training. SFTTrainer casts them to bfloat16 over a quantized base.
QLORA = {"qlora": torch.float32, "qlora_bf16": torch.bfloat16}
ADAM_STEPS, ADAM_SAVED = 20, (1, 2, 20)
ADAM = {"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01}


def inputs():
    """Normal values in three types, row counts that fill no block, more than 256 blocks, and the awkward values."""
    seed("quantization inputs")
    tensors = {
        "even": torch.randn(8, 64) * 0.05,
        "odd": torch.randn(5, 37),
        "rows": (torch.randn(3, 100) * 0.02).to(torch.float16),
        "large": (torch.randn(130, 130) * 0.03).to(torch.bfloat16),  # 264.06 blocks of 64: two nested blocks
    }
    levels = functional.get_4bit_type("nf4", device="cpu")
    edges = torch.zeros(4, 64)
    edges[1, : len(levels)] = levels
    edges[2, : len(levels) - 1] = (levels[1:] + levels[:-1]) / 2  # ties between neighbours
    edges[2, -1] = 1.0
    edges[3] = torch.linspace(-1e-30, 1e-30, 64)
    edges[3, 5] = -0.0
    return tensors | {"edges": edges}


def quantized_tensors():
    """Packed bytes and statistics as a checkpoint holds them, and the values that they stand for."""
    result = {}
    for name, tensor in inputs().items():
        result[f"{name}.input"] = tensor
        for kind, block, nested in SETTINGS:
            if name == "large" and block == 128:
                continue
            packed, state = functional.quantize_4bit(
                tensor, blocksize=block, quant_type=kind, compress_statistics=nested
            )
            prefix = f"{name}.{kind}.{block}{'.nested' if nested else ''}"
            result[f"{prefix}.weight"] = packed
            result |= {f"{prefix}.weight.{key}": value for key, value in state.as_dict(packed=True).items()}
            if name != "large" or nested:
                result[f"{prefix}.dequantized"] = functional.dequantize_4bit(packed, state)
    return {name: tensor.contiguous() for name, tensor in result.items()}


def quantize_on_loading(path, dtype, settings):
    configuration = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32, **settings)
    return AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, quantization_config=configuration, attn_implementation="eager", device_map="cpu"
    )


def checkpoint(goldens, name):
    base, dtype, settings = CHECKPOINTS[name]
    folder = goldens / "quantization" / name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        quantize_on_loading(goldens / "models" / base, dtype, settings).save_pretrained(scratch)
        for file in ("config.json", "model.safetensors"):
            shutil.copyfile(Path(scratch) / file, folder / file)
    configuration = json.loads((folder / "config.json").read_text())
    skipped = configuration["quantization_config"].get("llm_int8_skip_modules")
    if skipped:
        configuration["quantization_config"]["llm_int8_skip_modules"] = sorted(skipped)
        (folder / "config.json").write_text(json.dumps(configuration, indent=2, sort_keys=True) + "\n")
    # Everything in float32, whatever the stored type.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    seed(f"quantization {name} ids")
    ids = torch.randint(3, model.config.vocab_size, (12,)).tolist()
    golden = forward(model, ids)
    write(folder / "golden.json", {"base": f"models/{base}", **golden, "bytes": model.get_memory_footprint()})
    print(f"{name}: loss {golden['loss']}")


def mxfp4(goldens, name="gpt_oss_mxfp4"):
    """The tiny gpt-oss with random MXFP4 codes for its experts, as published; and what it computes with their values."""
    base = "models/gpt_oss"
    model = load(goldens / base)
    tensors = {key: value.clone() for key, value in model.state_dict().items()}
    seed(name)
    for key in [key for key in tensors if key.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, inputs, outputs = tensors.pop(key).shape
        blocks = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), dtype=torch.uint8)
        scales = torch.randint(122, 126, (experts, outputs, inputs // 32), dtype=torch.uint8)
        tensors[key + "_blocks"], tensors[key + "_scales"] = blocks, scales
        model.get_parameter(key).data = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    settings = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router"]}
    stored(goldens, name, base, tensors, settings, model)


def fp8(goldens, name="llama_fp8"):
    """The tiny Llama in 8-bit floats: tiles of 32 by 32 in attention, one scale per row in `gate_proj`, one for all of `up_proj`."""
    base = "models/llama"
    model = load(goldens / base)
    tensors = {key: value.clone().to(torch.bfloat16) for key, value in model.state_dict().items()}
    for key, value in tensors.items():
        model.state_dict()[key].copy_(value)
    seed(name)
    for key in [key for key in tensors if "_proj" in key]:
        value = tensors[key].float()
        rows, columns = value.shape
        tile = (1, columns) if "gate_proj" in key else (rows, columns) if "up_proj" in key else (32, 32)
        parts = [torch.split(row, tile[1], 1) for row in torch.split(value, tile[0], 0)]
        scales = torch.tensor([[part.abs().max() / 448 for part in row] for row in parts])
        wide = scales.repeat_interleave(tile[0], 0)[:rows].repeat_interleave(tile[1], 1)[:, :columns]
        tensors[key] = (value / wide).to(torch.float8_e4m3fn)
        suffix = "weight_scale" if "gate_proj" in key else "weight_scale_inv"
        tensors[key.replace("weight", suffix)] = scales.reshape(()) if "up_proj" in key else scales
        model.state_dict()[key].copy_(tensors[key].float() * wide)
    stored(goldens, name, base, tensors, {"quant_method": "fp8", "weight_block_size": [32, 32]}, model)


def stored(goldens, name, base, tensors, settings, model):
    folder = goldens / "quantization" / name
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    configuration = json.loads((goldens / base / "config.json").read_text()) | {"quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(configuration, indent=2, sort_keys=True) + "\n")
    seed(f"quantization {name} ids")
    ids = torch.randint(3, model.config.vocab_size, (12,)).tolist()
    golden = forward(model, ids)
    write(folder / "golden.json", {"base": base, **golden})
    print(f"{name}: loss {golden['loss']}")


def qlora(goldens, name, dtype):
    """Twenty steps as in training/lora_twenty, but over the base quantized on loading."""
    settings = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    model = quantize_on_loading(goldens / "models" / "llama", torch.float32, settings)
    model = PeftModel.from_pretrained(model, goldens / "training/lora/adapter", is_trainable=True)
    changes = {"max_steps": 20}
    trainable = {key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad}
    initial = {key: parameter.detach().clone() for key, parameter in trainable.items()}

    def choose_type(trainer):
        for key, parameter in trainer.model.named_parameters():
            if key in initial:
                parameter.data = initial[key].to(dtype)

    steps, _ = train(model, make_rows(vocabulary=256), placeholder_tokenizer(256), changes, prepare=choose_type)
    write(goldens / "quantization" / f"{name}.json", {
        "base": "models/llama",
        "adapter": "training/lora/adapter",
        "rows": "training/rows.json",
        "quantization": settings | {"bnb_4bit_compute_dtype": "float32"},
        "adapter_type": str(dtype).removeprefix("torch."),
        "settings": {
            "max_steps": STEPS,
            "per_device_train_batch_size": BATCH,
            "gradient_accumulation_steps": ACCUMULATION,
            "learning_rate": 1e-3,
        } | changes,
        "steps": steps,
        "trained": trained_tensors(model),
    })
    print(f"{name}: loss {steps[0]['loss']} to {steps[-1]['loss']}")


def adamw_8bit(goldens):
    """Parameters and gradients come from the formula of smollm2/; the states are saved after some of the steps."""
    shapes = {"wide": (64, 80), "ragged": (33, 130), "small": (100,)}  # 20 blocks; 16.8 blocks; kept in float32
    parameters = {name: torch.nn.Parameter(value_by_formula(name, shape, 1.0)) for name, shape in shapes.items()}
    optimizer = bitsandbytes.optim.AdamW8bit(parameters.values(), **ADAM)
    saved, log = {}, []
    for step in range(1, ADAM_STEPS + 1):
        for name, parameter in parameters.items():
            parameter.grad = value_by_formula(f"{name} {step}", parameter.shape, 0.1 / step)
        optimizer.step()
        if step in ADAM_SAVED:
            log.append({"step": step} | {name: summary(parameter) for name, parameter in parameters.items()})
            for name, parameter in parameters.items():
                state = optimizer.state[parameter]
                for key in ("state1", "state2", "absmax1", "absmax2"):
                    if key in state and name != "wide":
                        saved[f"{step}.{name}.{key}"] = state[key].clone()
                if name != "wide":
                    saved[f"{step}.{name}.parameter"] = parameter.detach().clone()
    state = optimizer.state[parameters["ragged"]]
    saved |= {"signed_map": state["qmap1"].clone(), "unsigned_map": state["qmap2"].clone()}
    save_file(saved, goldens / "quantization" / "adamw_8bit.safetensors")
    write(goldens / "quantization" / "adamw_8bit.json", {
        "settings": ADAM,
        "parameter": "formula(name, scale 1.0)",
        "gradient": "formula(name + ' ' + step, scale 0.1 / step), step from 1",
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "steps": log,
    })
    print(f"adamw_8bit: {state['state1'].dtype} states, {len(saved)} tensors")


def make(folder, arguments):
    logging.disable(logging.WARNING)
    goldens = folder.parent
    folder.mkdir(parents=True, exist_ok=True)
    names = arguments.names or ["tensors", *CHECKPOINTS, *QLORA, "adamw_8bit", "gpt_oss_mxfp4", "llama_fp8"]
    for name in names:
        if name == "tensors":
            tensors = quantized_tensors()
            save_file(tensors, folder / "tensors.safetensors")
            print(f"tensors: {len(tensors)}")
        elif name in CHECKPOINTS:
            checkpoint(goldens, name)
        elif name in QLORA:
            qlora(goldens, name, QLORA[name])
        elif name in ("gpt_oss_mxfp4", "llama_fp8"):
            (mxfp4 if name == "gpt_oss_mxfp4" else fp8)(goldens)
        elif name == "adamw_8bit":
            adamw_8bit(goldens)
        else:
            raise SystemExit(f"quantization has no golden named {name}")
