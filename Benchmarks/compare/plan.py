"""What `swiftlet plan` says of recipes that differ in method, length and batch, and what the runs then take.

plan.py MODEL [--swiftlet .build/release/swiftlet] [--steps 3] [--only NAME ...]
"""

import argparse
import json
import os
import random
import subprocess
import tempfile

LORA = ["--use_peft", "--lora_alpha", "32", "--lora_dropout", "0", "--lora_target_modules"]
# name -> (shortest and longest row, batch, accumulation, what else the recipe says)
RECIPES = {
    "LoRA r=16, all linears": ((250, 250), 4, 1, LORA + ["all-linear", "--lora_r", "16"]),
    "LoRA r=8, q and v, ragged rows": ((20, 500), 8, 2, LORA + ["q_proj", "v_proj", "--lora_r", "8"]),
    "LoRA r=16, one long row": ((1024, 1024), 1, 2, LORA + ["all-linear", "--lora_r", "16"]),
    "LoRA r=16, checkpointed": (
        (512, 512), 4, 1, LORA + ["all-linear", "--lora_r", "16", "--gradient_checkpointing", "true"]),
    "QLoRA, checkpointed": (
        (64, 64), 16, 1, LORA + ["all-linear", "--lora_r", "8", "--load_in_4bit", "--use_bnb_nested_quant",
                                 "--gradient_checkpointing", "true", "--optim", "paged_adamw_8bit"]),
    "LoRA r=16, held-out rows": (
        (120, 120), 1, 2, LORA + ["all-linear", "--lora_r", "16", "--eval_strategy", "steps", "--eval_steps", "1",
                                  "--test_split_size", "8"]),
    "every weight, AdamW": ((250, 250), 1, 2, []),
    "every weight, 8-bit AdamW": ((128, 128), 8, 1, ["--optim", "adamw_8bit"]),
    "every weight, checkpointed": ((250, 250), 4, 1, ["--gradient_checkpointing", "true", "--optim", "adafactor"]),
}

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--swiftlet", default=".build/release/swiftlet")
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--only", nargs="*", default=list(RECIPES))
call = parser.parse_args()


def write_rows(path, shortest, longest, count):
    random.seed(1)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(count):
            length = random.randint(shortest, longest)
            file.write(json.dumps({"input_ids": [random.randrange(100, 49152) for _ in range(length)]}) + "\n")


print("| recipe | rows, tokens | planned | measured | error | planned a step | measured |")
print("|---|---|---|---|---|---|---|")
for name in call.only:
    (shortest, longest), batch, accumulation, more = RECIPES[name]
    with tempfile.TemporaryDirectory() as folder:
        rows = os.path.join(folder, "rows.jsonl")
        write_rows(rows, shortest, longest, batch * accumulation * call.steps + 16)
        words = ["--model_name_or_path", call.model, "--dataset_name", rows, "--output_dir", folder,
                 "--per_device_train_batch_size", str(batch), "--gradient_accumulation_steps", str(accumulation),
                 "--max_steps", str(call.steps), "--logging_steps", "1", "--save_strategy", "no"] + more
        plan = json.loads(subprocess.run(
            [call.swiftlet, "plan", "--json"] + words, check=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL).stdout)
        process = subprocess.Popen([call.swiftlet, "sft"] + words, stderr=subprocess.PIPE, text=True)
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(errors)
        with open(os.path.join(folder, "trainer_state.json"), encoding="utf-8") as file:
            log = [entry for entry in json.load(file)["log_history"] if "loss" in entry]
    planned, measured = plan["memory"]["total"] / 1e6, usage.ru_maxrss * 1024 / 1e6
    seconds = (log[-1]["elapsed_s"] - log[0]["elapsed_s"]) / max(1, len(log) - 1)
    tokens = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    print(f"| {name} | {batch} x {tokens}{f', {accumulation} batches' if accumulation > 1 else ''} | {planned:.0f} MB "
          f"| {measured:.0f} MB | {100 * (planned / measured - 1):+.0f}% | {plan['time']['step_s']:.1f} s | {seconds:.1f} s |",
          flush=True)
