"""The same run as trl_train.py with swiftlet, from the figures that it logs.

swiftlet_train.py MODEL ROWS.jsonl --method lora|qlora|full|dpo --batch 4 --steps 4 [--bf16] [--swiftlet .build/release/swiftlet]
"""

import argparse
import json
import os
import subprocess
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("rows")
parser.add_argument("--method", choices=["lora", "qlora", "full", "dpo"], default="lora")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--accumulation", type=int, default=1)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--checkpointing", choices=["true", "false"], help="false, but for qlora")
parser.add_argument("--swiftlet", default=".build/release/swiftlet")
call = parser.parse_args()

LORA = ["--use_peft", "--lora_r", "16", "--lora_alpha", "32", "--lora_dropout", "0", "--lora_target_modules", "all-linear"]
QLORA = LORA + ["--load_in_4bit", "--bnb_4bit_quant_type", "nf4", "--use_bnb_nested_quant"]
METHODS = {"lora": LORA, "qlora": QLORA, "full": [], "dpo": LORA}
with tempfile.TemporaryDirectory() as folder:
    process = subprocess.Popen(
        [call.swiftlet, "dpo" if call.method == "dpo" else "sft", "--model_name_or_path", call.model, "--dataset_name", call.rows, "--output_dir", folder,
         "--per_device_train_batch_size", str(call.batch), "--gradient_accumulation_steps", str(call.accumulation),
         "--max_steps", str(call.steps), "--learning_rate", "1e-4", "--logging_steps", "1", "--save_strategy", "no"]
        + METHODS[call.method] + ["--bf16"] * call.bf16
        + ["--gradient_checkpointing", call.checkpointing or ("true" if call.method == "qlora" else "false")],
        stderr=subprocess.PIPE, text=True)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(errors)
    with open(os.path.join(folder, "trainer_state.json"), encoding="utf-8") as file:
        log = [entry for entry in json.load(file)["log_history"] if "loss" in entry]
first, last = log[0], log[-1]
seconds = last["elapsed_s"] - first["elapsed_s"]
print(json.dumps({
    "rows_per_s": round((len(log) - 1) * call.batch * call.accumulation / seconds, 2),
    "tokens_per_s": round((last["num_tokens"] - first["num_tokens"]) / seconds, 1),
    "peak_mb": usage.ru_maxrss // 1024,
}))
