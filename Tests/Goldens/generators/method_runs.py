"""Twenty steps of TRL's preference trainers from a recipe: `method_runs/<name>/recipe.yaml`, read by TRL's own parser, over
`method_runs/data/`, on the tiny Llama (`models/llama`), or a mixture of experts, with the tokenizer beside it.

A LoRA run begins with `adapter/`, and compares with the base model. `variants.json` of a method has the log of runs that
differ from `<method>_text` in a few settings.

GRPO's completions are not sampled but scripted, by a formula that Tests/SwiftletTests/ScriptedCompletions.swift repeats; so
are two rewards, and the order in which completions are divided into batches.
"""

import json
import os
import random
import shutil
import tempfile
from pathlib import Path

import torch
from datasets import load_dataset
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    ModelConfig,
    ScriptArguments,
    TrlParser,
    get_peft_config,
)
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer
from trl.rewards import get_soft_overlong_punishment, think_format_reward
from trl.trainer import grpo_trainer

from .recipe_runs import TEMPLATE, sentence
from .training import name_experts, save_initial_adapter
from .values import rounded, write

METHODS = {
    "dpo": (DPOConfig, DPOTrainer),
    "orpo": (ORPOConfig, ORPOTrainer),
    "cpo": (CPOConfig, CPOTrainer),
    "kto": (KTOConfig, KTOTrainer),
    "grpo": (GRPOConfig, GRPOTrainer),
}
NAMES = [
    "dpo_text", "dpo_chat", "dpo_precomputed", "dpo_sync", "orpo_text", "cpo_text", "kto_text", "kto_full",
    "grpo_text", "grpo_full", "dpo_experts", "kto_experts", "grpo_experts", "orpo_experts",
]

# What differs from `<method>_text`, by the name of the variant.
VARIANTS = {
    "dpo": {
        "hinge": {"loss_type": ["hinge"], "beta": 0.5},
        "ipo": {"loss_type": ["ipo"]},
        "exo_pair": {"loss_type": ["exo_pair"], "label_smoothing": 0.001},
        "nca_pair": {"loss_type": ["nca_pair"]},
        "robust": {"loss_type": ["robust"], "label_smoothing": 0.1},
        "bco_pair": {"loss_type": ["bco_pair"]},
        "sppo_hard": {"loss_type": ["sppo_hard"], "beta": 0.5},
        "aot": {"loss_type": ["aot"], "label_smoothing": 0.1},
        "aot_unpaired": {"loss_type": ["aot_unpaired"]},
        "apo_zero": {"loss_type": ["apo_zero"]},
        "apo_down": {"loss_type": ["apo_down"]},
        "discopop": {"loss_type": ["discopop"]},
        "sft": {"loss_type": ["sft"]},
        "sigmoid_norm": {"loss_type": ["sigmoid_norm"]},
        "mixed": {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
        "forward_kl": {"f_divergence_type": "forward_kl"},
        "js_divergence": {"f_divergence_type": "js_divergence", "loss_type": ["ipo"]},
        "alpha_divergence": {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.7},
        "ld_alpha": {"ld_alpha": 0.5},
        "weighting": {"use_weighting": True},
        "keep_end": {"truncation_mode": "keep_end", "max_length": 24},
        "keep_start": {"max_length": 24},
    },
    "cpo": {
        "hinge": {"loss_type": "hinge", "cpo_alpha": 0.5},
        "ipo": {"loss_type": "ipo"},
        "simpo": {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0},
        "smoothed": {"label_smoothing": 0.2},
        "alphapo": {"loss_type": "simpo", "cpo_alpha": 0.0, "alpha": 0.25, "beta": 2.0},
    },
    "kto": {
        "weights": {"desirable_weight": 1.5, "undesirable_weight": 0.5},
        "apo_zero_unpaired": {"loss_type": "apo_zero_unpaired"},
        "max_length": {"max_length": 24},
    },
    # Bounds of clipping from which every ratio is farther away than rounding moves it.
    "grpo": {
        "grpo": {"loss_type": "grpo"},
        "bnpo": {"loss_type": "bnpo"},
        "dr_grpo": {"loss_type": "dr_grpo"},
        "divergence": {"beta": 0.1},
        "uncorrected_divergence": {"beta": 0.1, "use_bias_correction_kl": False, "loss_type": "bnpo"},
        "clipped": {"num_iterations": 3, "epsilon": 0.002, "epsilon_high": 0.004},
        "clipped_grpo": {"loss_type": "grpo", "num_iterations": 2, "epsilon": 0.002, "beta": 0.05},
        "clipped_bnpo": {"loss_type": "bnpo", "num_iterations": 2, "epsilon": 0.0025, "beta": 0.05},
        "clipped_dr_grpo": {"loss_type": "dr_grpo", "num_iterations": 2, "epsilon": 0.002, "beta": 0.05},
        "delta": {"num_iterations": 2, "epsilon": 0.001, "delta": 1.002},
        "sequence": {"importance_sampling_level": "sequence", "num_iterations": 2, "epsilon": 0.0006, "beta": 0.05},
        "two_steps": {"steps_per_generation": 4, "epsilon": 0.0015},
        "batch_scale": {"scale_rewards": "batch"},
        "no_scale": {"scale_rewards": "none", "reward_weights": [1.0, 0.25]},
        "masked": {"mask_truncated_completions": True},
        "temperature": {"temperature": 0.7, "beta": 0.1},
    },
}

BRIEF = ("loss", "grad_norm", "rewards/margins", "logps/chosen")
GRPO_BRIEF = ("loss", "grad_norm", "entropy", "kl", "reward_std", "clip_ratio/region_mean")
IGNORED = ("learning_rate", "step", "num_input_tokens_seen", "step_time", "completion_length")


def make_rows(folder):
    """JSON Lines files of made-up rows: prompts with two completions, as text and as messages."""
    draw = random.Random(21)

    def message(role, most):
        return {"role": role, "content": sentence(draw, 1, most)}

    texts = [
        {
            "prompt": sentence(draw, 1, 4) + ":",
            "chosen": " " + sentence(draw, 1, 5),
            "rejected": " " + sentence(draw, 1, 5),
        }
        for _ in range(48)
    ]
    chats = []
    for index in range(44):
        prompt = [message("system", 2)] * (index % 2) + [message("user", 3)]
        if index % 5 == 0:
            prompt += [message("assistant", 2), message("user", 2)]
        chats.append({key: prompt + [message("assistant", 4)] for key in ("chosen", "rejected")})
    labeled = [
        {
            "prompt": sentence(draw, 1, 4) + ":",
            "completion": " " + sentence(draw, 1, 5),
            "label": draw.random() < 0.6,
        }
        for _ in range(48)
    ]
    for name, rows in {"texts": texts, "chats": chats, "labeled": labeled}.items():
        path = folder / name / "train.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (folder / "template.jinja").write_text(TEMPLATE, encoding="utf-8")


def scripted(prompt, copy, call):
    """Token ids that stand for a completion of these ids: `copy` of a group, in the call of this number."""
    state = (sum(prompt) * 31 + copy * 7919 + call * 104729) % 2**31

    def draw(below):
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return (state >> 8) % below

    ids = [20 + draw(100) for _ in range(1 + draw(9))]
    return ids, draw(4) > 0


def spread_reward(completion_ids, **_):
    # Eighths, so that the mean of equal rewards is exact: float32 would give their advantages a sign, which clipping sees.
    return [sum(ids) % 8 / 8 for ids in completion_ids]


def parity_reward(completion_ids, **_):
    return [None if ids[0] % 5 == 0 else float(len(ids) % 2) for ids in completion_ids]


def follow_script(trainer, seed):
    """Makes a GRPO trainer take scripted completions, and divide them by the seed and the number of the call."""
    calls = []

    def generate(prompt_ids, images, fields, count, has_tool_images=False):
        completions = []
        for index, prompt in enumerate(prompt_ids):
            ids, ends = scripted(prompt, index % count, len(calls))
            completions.append(ids + ([trainer.processing_class.eos_token_id] if ends else []))
        calls.append(len(prompt_ids))
        return completions, None

    def shuffle(values):
        size = len(next(value for value in values.values() if value is not None))
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed + len(calls) - 1))
        return {
            key: value[order] if isinstance(value, torch.Tensor) and value.ndim > 0 else value
            for key, value in values.items()
        }

    trainer._generate_single_turn = generate
    grpo_trainer.shuffle_sequence_dict = shuffle


def train(goldens, name, changes, logged):
    """The log of a run of the recipe in the working folder, with some settings changed."""
    method = name.split("_")[0]
    configuration_class, trainer_class = METHODS[method]
    tokenizer = AutoTokenizer.from_pretrained(goldens / "models" / "tokenizer")
    tokenizer.chat_template = TEMPLATE
    if method in ("orpo", "cpo"):
        tokenizer.bos_token = None  # these trainers add it where the tokenizer itself does not
    with tempfile.TemporaryDirectory() as scratch:
        parser = TrlParser((ScriptArguments, configuration_class, ModelConfig))
        words = ["--config", "recipe.yaml", "--output_dir", scratch]
        for key, value in changes.items():
            words += [f"--{key}", *map(str, value if isinstance(value, list) else [value])]
        script, arguments, model_arguments = parser.parse_args_and_config(words)
        arguments.disable_tqdm = True
        model = AutoModelForCausalLM.from_pretrained(model_arguments.model_name_or_path, dtype=torch.float32)
        name_experts(model)
        if name == "orpo_experts":
            # Unlike the others, this trainer adds the loss of routers only if the model's configuration asks for it.
            model.config.output_router_logits = True
            model.config.router_aux_loss_coef = 0.1
        lora = get_peft_config(model_arguments)
        rows = load_dataset(script.dataset_name)["train"]
        rewards = {"reward_funcs": [spread_reward, parity_reward]} if method == "grpo" else {}
        trainer = trainer_class(
            model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, peft_config=lora, **rewards
        )
        if method == "grpo":
            follow_script(trainer, arguments.seed)
        if lora is not None:
            weights = load_file("adapter/adapter_model.safetensors")
            set_peft_model_state_dict(trainer.model, weights)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    keys = [key for key in steps[0] if key not in IGNORED] if logged is None else logged
    return [{key: rounded(step[key], 9) for key in keys if key in step} for step in steps]


def make_adapter(goldens, folder, name):
    """The adapter that the recipe in the working folder begins with."""
    parser = TrlParser((ScriptArguments, METHODS[name.split("_")[0]][0], ModelConfig))
    _, _, model_arguments = parser.parse_args_and_config(["--config", "recipe.yaml", "--output_dir", "unused"])
    lora = get_peft_config(model_arguments)
    if lora is None:
        return
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    wanted = ("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora")
    wanted = {key: getattr(lora, key) for key in wanted}
    base = Path(model_arguments.model_name_or_path)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    save_initial_adapter(model, f"models/{base.name}", name, wanted, folder / "adapter")


def make_rewards(path):
    """What TRL's rewards give made-up completions."""
    texts = [
        "<think>a\nb</think>c", "<think>a</think>", "<think></think>\n\n7", " <think>a</think>b", "<think>a",
        "a<think>b</think>", "<think>a<think>b</think>c", "<think>a</think><think>b</think>", "</think><think>", "",
        "<think>a</think></think>", "<THINK>a</THINK>",
    ]
    lengths = [1, 6, 7, 8, 9, 10, 11, 1023, 1024, 1025, 1200, 1280, 1281]
    ids = [[1] * length for length in lengths]
    write(path, {
        "texts": texts,
        "think_format_reward": think_format_reward([[{"content": text}] for text in texts]),
        "lengths": lengths,
        "soft_overlong_punishment": get_soft_overlong_punishment(10, 2)(ids),
        "get_soft_overlong_punishment": get_soft_overlong_punishment(1280, 256)(ids),
    })


def make(folder, arguments):
    make_rows(folder / "data")
    make_rewards(folder / "data" / "rewards.json")
    for name in arguments.names or NAMES:
        os.chdir(folder / name)
        make_adapter(folder.parent, folder / name, name)
        steps = train(folder.parent, name, {}, None)
        write(folder / name / "golden.json", {"steps": steps})
        print(f"{name}: {len(steps)} steps, loss {steps[0]['loss']} to {steps[-1]['loss']}")
        method = name.split("_")[0]
        if name != f"{method}_text":
            continue
        variants = []
        for variant, changes in VARIANTS.get(method, {}).items():
            steps = train(folder.parent, name, changes, GRPO_BRIEF if method == "grpo" else BRIEF)
            variants.append({"name": variant, "changes": changes, "steps": steps})
            print(f"  {variant}: loss {steps[0]['loss']} to {steps[-1]['loss']}")
        write(folder / name / "variants.json", variants)
