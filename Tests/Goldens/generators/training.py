"""Ten or twenty steps of TRL's SFTTrainer on the tiny Llama (`models/llama`), with the rows in the order given.

`training/rows.json` holds the rows (ids and labels, -100 where a token is not trained on). Every folder
`training/<name>/` holds `golden.json`, and `adapter/` where training begins with a LoRA adapter.
"""

import json
import tempfile
from unittest import mock

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from peft.utils.other import TrainableTokensWrapper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from .values import rounded, seed, summary, write

STEPS, BATCH, ACCUMULATION = 10, 2, 2
LOGGED = ("loss", "grad_norm", "learning_rate", "num_tokens", "entropy", "mean_token_accuracy", "aux_loss", "epoch")
TOKENS = [5, 6, 7, 255, 40, 90, 91]
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# name -> (LoRA configuration, or the run whose adapter this one begins with too, or none;
#          what differs from the trainer's settings below)
RUNS = {
    "full": (None, {}),
    "full_warmup": (None, {"warmup_steps": 3}),
    "full_weight_decay": (None, {"weight_decay": 0.01}),
    "full_no_clip": (None, {"max_grad_norm": 0.0, "lr_scheduler_type": "cosine"}),
    "full_dft": (None, {"loss_type": "dft"}),
    "full_smoothing": (None, {"label_smoothing_factor": 0.1, "loss_type": "nll"}),
    # States of tensors under 4,096 elements and of the embedding stay in float32. See nearest_levels.
    "full_adamw_8bit": (None, {"optim": "adamw_8bit"}),
    "lora": ({"r": 4, "lora_alpha": 8, "target_modules": LINEARS}, {}),
    "lora_weight_decay": ("lora", {"weight_decay": 0.01}),
    "lora_adafactor": ("lora", {"optim": "adafactor"}),
    "lora_adafactor_from_zero": ({"r": 4, "lora_alpha": 8, "target_modules": LINEARS}, {"optim": "adafactor"}),
    # A module of `modules_to_save` is trained in full and gets no update, and "norm" is the end of more than one name.
    "lora_saved_linear": (
        {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "modules_to_save": ["q_proj", "lm_head"]},
        {},
    ),
    "lora_saved_blocks": (
        {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "modules_to_save": ["layers.1.mlp", "norm"]},
        {},
    ),
    # Embedding and head are tied until `modules_to_save` names either.
    "lora_tied_head": ({"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, {}),
    "lora_tied_embedding": (
        {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {},
    ),
    "lora_plus": ("lora", {"loraplus_lr_ratio": 8.0}),
    "lora_patterns": (
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": LINEARS,
            "use_rslora": True,
            "rank_pattern": {"q_proj": 2, "layers.1.mlp.down_proj": 8},
            "alpha_pattern": {"v_proj": 16, "layers.0.self_attn.o_proj": 3},
            "modules_to_save": ["lm_head"],
        },
        {},
    ),
    # The tiny Llama has no biases, so this one cannot be merged.
    "lora_bias": ({"r": 4, "lora_alpha": 8, "target_modules": LINEARS, "lora_bias": True}, {}),
    # Ids beside each other and apart; the embedding of the second base is tied to its head.
    "lora_tokens": ({"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "trainable_token_indices": TOKENS}, {}),
    "lora_tied_tokens": (
        {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "trainable_token_indices": TOKENS},
        {},
    ),
    "lora_tied_tokens_apart": (
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj"],
            "trainable_token_indices": {"embed_tokens": TOKENS, "lm_head": [4, 90, 30]},
        },
        {},
    ),
    "pissa": ({"r": 4, "lora_alpha": 8, "target_modules": LINEARS, "init_lora_weights": "pissa"}, {}),
    "schedule_free": (
        "lora",
        {"optim": "schedule_free_adamw", "lr_scheduler_type": "constant", "warmup_steps": 4, "weight_decay": 0.01},
    ),
    "dora": ({"r": 4, "lora_alpha": 8, "target_modules": LINEARS, "use_dora": True}, {}),
    # Adapters on experts, which take no dropout. By default, the trainer adds a loss of the router.
    "lora_experts": (
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj", "v_proj"],
            "target_parameters": ["experts.gate_up_proj", "experts.down_proj"],
        },
        {"router_aux_loss_coef": 0.0},
    ),
    "lora_experts_gpt_oss": (
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": [],
            "target_parameters": ["experts.gate_up_proj", "experts.down_proj"],
        },
        {"router_aux_loss_coef": 0.0},
    ),
    "lora_experts_granite": (
        {"r": 4, "lora_alpha": 8, "target_modules": [], "target_parameters": ["experts.gate_up_proj"]},
        {"weight_decay": 0.01, "router_aux_loss_coef": 0.0},
    ),
    # The loss of the router: of batches that are not added up, with the weight that the model's configuration gives it,
    # with frozen routers, and with smoothed labels, where the trainer reports it and leaves it out.
    "router_full": (
        None,
        {"router_aux_loss_coef": 0.1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1},
    ),
    "router_mixed": (None, {}),
    "router_gpt_oss": (None, {"router_aux_loss_coef": 0.1}),
    "router_granite": (None, {"router_aux_loss_coef": 0.1}),
    "router_lora": ("lora_experts", {"router_aux_loss_coef": 0.1}),
    "router_smoothing": (None, {"router_aux_loss_coef": 0.1, "label_smoothing_factor": 0.1, "loss_type": "nll"}),
    # Two epochs.
    "full_twenty": (None, {"max_steps": 20}),
    "lora_twenty": ("lora", {"max_steps": 20}),
}

# The models of runs on another one than the tiny Llama, with or without tied embeddings.
BASES = {
    "lora_experts": "models/qwen3_moe",
    "lora_experts_gpt_oss": "models/gpt_oss",
    "lora_experts_granite": "models/granitemoe",
    "router_full": "models/qwen3_moe",
    "router_mixed": "models/qwen3_moe_mixed",
    "router_gpt_oss": "models/gpt_oss",
    "router_granite": "models/granitemoe",
    "router_lora": "models/qwen3_moe",
    "router_smoothing": "models/qwen3_moe",
}


def settings(scratch, **changes):
    """What every run shares. Anything not named here is the trainer's default."""
    return SFTConfig(**{
        "output_dir": str(scratch),
        "max_steps": STEPS,
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": ACCUMULATION,
        "learning_rate": 1e-3,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **changes,
    })


def make_rows(vocabulary):
    """40 rows of 5 to 16 tokens; a third has a masked prompt, and one has a single predicted token."""
    seed("training rows")
    rows = []
    for index in range(STEPS * BATCH * ACCUMULATION):
        length = int(torch.randint(5, 17, ()))
        ids = torch.randint(3, vocabulary, (length,)).tolist()
        masked = length - 1 if index == 7 else (length // 2 if index % 3 == 0 else 0)
        rows.append({"input_ids": ids, "labels": [-100] * masked + ids[masked:]})
    return rows


def placeholder_tokenizer(vocabulary):
    """The trainer wants a tokenizer even for rows that are tokens already; only its pad id is used."""
    words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"t{index}": index for index in range(3, vocabulary)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<pad>")),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
    )


def save_initial_adapter(base, base_name, name, configuration, folder):
    """An adapter with B random, unless the name ends with "from_zero": with B zero the gradient of A is zero in the first
    step, which tells little. Copies of tied modules differ from the base's, so that it shows which one is used."""
    seed(name + " adapter")
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **configuration))
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "tied" in name and "modules_to_save" in parameter_name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            if "trainable_tokens_delta" in parameter_name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            if not name.endswith("from_zero") and any(kind in parameter_name for kind in ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B")):
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    clean(folder, base_name)


def clean(folder, base_name):
    """Takes out of an adapter's folder what is different each time."""
    (folder / "README.md").unlink(missing_ok=True)
    configuration_file = folder / "adapter_config.json"
    saved = json.loads(configuration_file.read_text())
    saved["base_model_name_or_path"] = base_name
    for key in ("target_modules", "target_parameters"):
        if isinstance(saved[key], list):
            saved[key].sort()  # PEFT keeps a set: its order changes between runs
    configuration_file.write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")


def name_experts(model):
    """TRL 1.16 fails for Granite's mixtures of experts, because it reads their number under the name that other families
    have for it. transformers' own forward pass reads the right one."""
    if model.config.model_type == "granitemoe":
        model.config.num_experts = model.config.num_local_experts


def nearest_levels(values, levels, absmax_out, codes_out, block):
    """Encodes 8-bit moments by the nearest level, as bitsandbytes does on a GPU. On a processor it looks levels up in a
    table of 65,536 cells, which are wider than most levels of the second moment are apart."""
    flat = values.flatten()
    for number, part in enumerate(flat.split(block)):
        absmax = part.abs().max()
        share = part / absmax if absmax > 0 else part
        codes = (share.unsqueeze(-1) - levels).abs().argmin(-1)
        codes_out.view(-1)[number * block : number * block + len(part)] = codes.to(torch.uint8)
        absmax_out[number] = absmax


def trained_tensors(model):
    """The trained tensors under the names that they have in a saved file."""
    tensors = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            name = name.replace(".default", "").replace(".modules_to_save", "")
            if name.endswith("lora_magnitude_vector.weight"):
                name = name.removesuffix(".weight")
            tensors[name] = summary(parameter)
    return tensors


def train(model, rows, tokenizer, changes, prepare=lambda trainer: None, finish=lambda trainer: None):
    """Trains `model` in place. Returns the log of every step and the rows as the trainer tokenized them.

    `prepare` is called with the trainer before the first step, to undo what the trainer does to a model on its own, and
    `finish` after the last one.
    """
    ratio = changes.get("loraplus_lr_ratio")
    changes = {key: value for key, value in changes.items() if key != "loraplus_lr_ratio"}
    with tempfile.TemporaryDirectory() as scratch:
        arguments = settings(scratch, **changes)
        optimizer = None
        if ratio:
            optimizer = create_loraplus_optimizer(
                model, torch.optim.AdamW, lr=arguments.learning_rate, loraplus_lr_ratio=ratio
            )
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            optimizers=(optimizer, None),
        )
        trainer.remove_callback(PrinterCallback)
        prepare(trainer)
        trainer.train()
        if arguments.optim == "schedule_free_adamw":
            trainer.optimizer.eval()  # the averaged weights
        finish(trainer)
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    tokenized = [{key: row[key] for key in ("input_ids", "labels")} for row in trainer.train_dataset]
    return [{key: rounded(entry[key], 9) for key in LOGGED if key in entry} for entry in steps], tokenized


def run_pissa(goldens, name, rows, lora):
    """A run from PiSSA's own initialization. `adapter/` is its result as PEFT converts it: plain LoRA of twice the rank."""
    base = AutoModelForCausalLM.from_pretrained(goldens / "models/llama", dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **lora))
    adapter = goldens / "training" / name / "adapter"
    with tempfile.TemporaryDirectory() as scratch:
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(f"{scratch}/initial")
        model.peft_config["default"].init_lora_weights = lora["init_lora_weights"]
        steps, _ = train(model, rows, placeholder_tokenizer(model.config.vocab_size), {})
        model.save_pretrained(adapter, path_initial_model_for_weight_conversion=f"{scratch}/initial")
    clean(adapter, "models/llama")
    write(adapter.parent / "golden.json", {
        "base": "models/llama",
        "settings": SETTINGS,
        "lora": lora,
        "steps": steps,
    })
    print(f"{name}: loss {steps[0]['loss']} to {steps[-1]['loss']}")


SETTINGS = {
    "max_steps": STEPS,
    "per_device_train_batch_size": BATCH,
    "gradient_accumulation_steps": ACCUMULATION,
    "learning_rate": 1e-3,
}


def run(goldens, name, rows):
    """One run; the log has the loss, the gradient norm before clipping and the learning rate of every step."""
    lora, changes = RUNS[name]
    if name == "pissa":
        return run_pissa(goldens, name, rows, lora)
    base_name = BASES.get(name, "models/llama_tied" if "tied" in name else "models/llama")
    base = goldens / base_name
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    name_experts(model)
    folder = goldens / "training" / name
    adapter = None
    if lora is not None:
        adapter = f"training/{lora if isinstance(lora, str) else name}/adapter"
        if not isinstance(lora, str):
            save_initial_adapter(model, base_name, name, lora, goldens / adapter)
            model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model = PeftModel.from_pretrained(model, goldens / adapter, is_trainable=True)
        for module in model.modules():
            if isinstance(module, TrainableTokensWrapper):
                module.bias = None  # TRL looks for it, and PEFT's wrapper around a head lacks it
    evaluation = {}

    def evaluate(trainer):
        # One batch, because the trainer takes the mean over batches.
        found = trainer.evaluate(Dataset.from_list(rows[:8]))
        evaluation.update({key: rounded(found[key], 9) for key in ("eval_loss", "eval_aux_loss")})

    with mock.patch("bitsandbytes.backends.cpu.ops._quant_blockwise_fp32_direct", nearest_levels):
        steps, _ = train(
            model, rows, placeholder_tokenizer(model.config.vocab_size), changes,
            finish=evaluate if name.startswith("router") else lambda trainer: None,
        )
    write(folder / "golden.json", {
        "base": base_name,
        "adapter": adapter,
        "settings": SETTINGS | changes,
        "steps": steps,
        **({"evaluation": evaluation} if evaluation else {}),
        "trained": trained_tensors(model),
    })
    print(f"{name}: loss {steps[0]['loss']} to {steps[-1]['loss']}")


def make(folder, arguments):
    rows = make_rows(vocabulary=256)
    write(folder / "rows.json", rows)
    for name in arguments.names or RUNS:
        run(folder.parent, name, rows)
