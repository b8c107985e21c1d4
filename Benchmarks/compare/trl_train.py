"""Trains with TRL on rows of any kind that it takes, and prints one JSON object: tokens a second after the first step, peak memory.

trl_train.py MODEL ROWS.jsonl --method lora|qlora|full|dpo --batch 4 --steps 4 [--accumulation 1] [--threads 2] [--bf16]
             [--unsloth]

With --unsloth, Unsloth loads the model and adds the adapter (method lora), on the processor if there is no GPU.
"""

import argparse
import json
import os
import resource
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("rows")
parser.add_argument("--method", choices=["lora", "qlora", "full", "dpo"], default="lora")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--accumulation", type=int, default=1)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16, TRL's default")
parser.add_argument("--unsloth", action="store_true")
call = parser.parse_args()
if call.unsloth:
    # It would write the code that it compiles to the working directory.
    compiled = tempfile.TemporaryDirectory()
    os.environ["UNSLOTH_COMPILE_LOCATION"] = compiled.name
    from unsloth import FastLanguageModel  # before what it changes

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

torch.set_num_threads(call.threads)


class Clock(TrainerCallback):
    """Notes when steps end; the first one fills caches and does not count."""

    ends = []

    def on_step_end(self, *_, **__):
        self.ends.append(time.perf_counter())


# NF4 with double quantization under gradient checkpointing, as the `yoda` recipe.
QUANTIZATION = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32)
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# dpo is LoRA on pairs: prompt, chosen, rejected.
configuration, trainer_class = (DPOConfig, DPOTrainer) if call.method == "dpo" else (SFTConfig, SFTTrainer)
with tempfile.TemporaryDirectory() as folder:
    arguments = configuration(
        output_dir=folder, per_device_train_batch_size=call.batch, gradient_accumulation_steps=call.accumulation,
        max_steps=call.steps, learning_rate=1e-4, logging_steps=1, save_strategy="no", report_to="none", use_cpu=True,
        bf16=call.bf16, gradient_checkpointing=call.method == "qlora", max_length=None, disable_tqdm=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(call.model)
    adapter = LoraConfig(r=16, lora_alpha=32, target_modules=LINEARS, task_type="CAUSAL_LM")
    if call.unsloth:
        model, _ = FastLanguageModel.from_pretrained(call.model, dtype=torch.float32, load_in_4bit=False)
        model = FastLanguageModel.get_peft_model(
            model, r=16, lora_alpha=32, target_modules=LINEARS, lora_dropout=0, use_gradient_checkpointing=False)
    else:
        model = AutoModelForCausalLM.from_pretrained(
            call.model, dtype=torch.float32, quantization_config=QUANTIZATION if call.method == "qlora" else None)
    trainer = trainer_class(
        model=model,
        args=arguments,
        train_dataset=load_dataset("json", data_files=call.rows, split="train"),
        processing_class=tokenizer,
        peft_config=None if call.unsloth or call.method == "full" else adapter,
        callbacks=[Clock()],
    )
    trainer.train()
counts = [entry["num_tokens"] for entry in trainer.state.log_history if "num_tokens" in entry]
# Padding is not among them. Before version 1, DPOTrainer doesn't count tokens.
tokens = counts[len(Clock.ends) - 1] - counts[0] if counts else 0
seconds = Clock.ends[-1] - Clock.ends[0]
rows = (len(Clock.ends) - 1) * call.batch * call.accumulation
print(json.dumps({
    "rows_per_s": round(rows / seconds, 2),
    **({"tokens_per_s": round(tokens / seconds, 1)} if counts else {}),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
