"""What PEFT computes with an adapter over a tiny model: logits, and the weights after merging.

`peft/<name>.json` names the adapter: one of `training/<run>/adapter` or `peft/<name>/`.
"""

import dataclasses
import json

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from .models import in_files, load
from .training import save_initial_adapter
from .values import rounded, seed, summary, write

# Adapters that the training runs begin with.
FROM_TRAINING = [
    "lora", "dora", "lora_patterns", "lora_tied_head", "lora_tied_embedding", "lora_tokens", "lora_tied_tokens", "pissa",
]
EXPERTS = ["experts.gate_up_proj", "experts.down_proj"]
WITHIN = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
WITHIN_QWEN35 = r".*language_model\.layers.*\.(\w+_proj(_\w+)?)"
# name -> (base, LoRA configuration)
ADAPTERS = {
    "fused": ("phi3", {"r": 4, "lora_alpha": 8, "target_modules": ["qkv_proj", "gate_up_proj", "down_proj", "o_proj"]}),
    "all_linear": ("qwen2", {"r": 2, "lora_alpha": 2, "target_modules": "all-linear", "use_rslora": True}),
    "pattern": (
        "qwen3",
        {"r": 4, "lora_alpha": 4, "target_modules": r".*layers\.1\.(self_attn\.[qk]|mlp\.up)_proj", "use_dora": True},
    ),
    # Regular expressions keep out the vision towers' layers of the same names.
    "gemma3_vision": ("gemma3_vision", {"r": 2, "lora_alpha": 4, "target_modules": WITHIN}),
    "mistral3": ("mistral3", {"r": 2, "lora_alpha": 4, "target_modules": WITHIN}),
    "ministral3": ("ministral3", {"r": 2, "lora_alpha": 4, "target_modules": WITHIN}),
    "granite": ("granite", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "phi4_mini": ("phi4_mini", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "olmo2": ("olmo2", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "olmo3": ("olmo3", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "gemma2": ("gemma2", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "lfm2": ("lfm2", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "qwen3_5": ("qwen3_5", {"r": 2, "lora_alpha": 4, "target_modules": WITHIN_QWEN35}),
    "qwen3_5_gguf": ("qwen3_5_gguf", {"r": 2, "lora_alpha": 4, "target_modules": WITHIN_QWEN35}),
    "qwen3_moe": (
        "qwen3_moe", {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}
    ),
    "gemma4_embeddings": ("gemma4", {"r": 4, "lora_alpha": 4, "target_modules": "all-linear"}),
    "gemma4_keys": ("gemma4_keys", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "gpt_oss": ("gpt_oss", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "granitemoe": ("granitemoe", {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj", "o_proj"]}),
    "lfm3": ("lfm3", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "granite4": ("granite4", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    # Experts: two parameters of a module are nested, one alone is not; gpt-oss has them transposed.
    "qwen3_moe_experts": (
        "qwen3_moe",
        {
            "r": 2,
            "lora_alpha": 4,
            "target_modules": ["q_proj", "o_proj"],
            "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
            "rank_pattern": {"experts.down_proj": 3},
        },
    ),
    "qwen3_moe_down": (
        "qwen3_moe_mixed",
        {
            "r": 2,
            "lora_alpha": 4,
            "target_modules": [],
            "target_parameters": ["down_proj"],
            "alpha_pattern": {"layers.1.mlp.experts.down_proj": 6},
        },
    ),
    "gpt_oss_experts": (
        "gpt_oss",
        {"r": 2, "lora_alpha": 4, "target_modules": [], "use_rslora": True, "target_parameters": EXPERTS},
    ),
    "granitemoe_experts": (
        "granitemoe", {"r": 2, "lora_alpha": 4, "target_modules": ["v_proj"], "target_parameters": EXPERTS}
    ),
    # Only these layers of Qwen2 have biases, to which those of the adapter are added.
    "bias": (
        "qwen2", {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "k_proj", "v_proj"], "lora_bias": True}
    ),
    "tokens_apart": (
        "llama_linear",
        {
            "r": 2,
            "lora_alpha": 4,
            "target_modules": ["o_proj"],
            "trainable_token_indices": {"embed_tokens": [9, 4, 3], "lm_head": [4, 5]},
        },
    ),
    "embedding": ("llama_linear", {"r": 4, "lora_alpha": 8, "target_modules": ["embed_tokens", "v_proj"]}),
}


def adapted(goldens, name, base, adapter):
    """Logits of one sequence with the adapter beside the weights, and every weight that merging changes."""
    model = PeftModel.from_pretrained(load(goldens / base), goldens / adapter).eval()
    seed(f"peft {name} ids")
    ids = torch.randint(3, model.config.get_text_config().vocab_size, (12,)).tolist()
    batch = torch.tensor([ids])
    gradients = expert_gradients(model, batch)
    with torch.no_grad():
        output = model(input_ids=batch, labels=batch)
        parameters = model.get_nb_trainable_parameters()[1]
        added = sum(parameter.numel() for key, parameter in model.named_parameters() if "lora_" in key)
        before = load(goldens / base).state_dict()
        merged = model.merge_and_unload()
        difference = (merged(input_ids=batch).logits - output.logits).abs().max().item()
    after = merged.state_dict()
    changed = {}
    for key in before:
        if key in after and not torch.equal(before[key], after[key]):
            changed |= {name: summary(own) for name, own in in_files(merged, key, after[key])}
    golden = {
        "base": base,
        "adapter": adapter,
        "parameters": parameters,
        "adapter_parameters": added,
        "ids": ids,
        "loss": rounded(output.loss.item(), 9),
        "logits": rounded(output.logits[0]),
        "merged": changed,
    }
    write(goldens / "peft" / f"{name}.json", golden | ({"gradients": gradients} if gradients else {}))
    print(f"{name}: loss {output.loss.item():.6f}; merging changes {len(changed)} tensors, logits by {difference:.2g}")


def expert_gradients(model, batch):
    """The gradients of an adapter on experts, under the names of its file."""
    if not model.peft_config["default"].target_parameters:
        return {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    model(input_ids=batch, labels=batch).loss.backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            gradients[name.replace(".default", "")] = summary(parameter.grad)
            parameter.grad = None
    return gradients


def make(folder, arguments):
    goldens = folder.parent
    write_fields(folder)
    write_pissa_products(folder)
    for name in arguments.names or [*FROM_TRAINING, *ADAPTERS]:
        if name in ADAPTERS:
            base, configuration = ADAPTERS[name]
            base = f"models/{base}"
            save_initial_adapter(load(goldens / base), base, f"peft {name}", configuration, folder / name)
            adapted(goldens, name, base, f"peft/{name}")
        else:
            base = json.loads((goldens / "training" / name / "golden.json").read_text())["base"]
            adapted(goldens, name, base, f"training/{name}/adapter")


def write_fields(folder):
    """The names of LoraConfig's fields: `adapter_config.json` can have any of them."""
    write(folder / "lora_config_fields.json", sorted(field.name for field in dataclasses.fields(LoraConfig)))


def write_pissa_products(folder):
    """The product of A and B, scaled, that PiSSA begins with in every layer of the tiny Llama."""
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights="pissa")
    model = get_peft_model(load(folder.parent / "models/llama"), lora)
    products = {}
    for name, module in model.base_model.model.named_modules():
        if hasattr(module, "lora_A"):
            product = module.lora_B["default"].weight @ module.lora_A["default"].weight
            products[name] = summary(product * module.scaling["default"])
    write(folder / "pissa_products.json", products)
