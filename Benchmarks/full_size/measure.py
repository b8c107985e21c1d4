"""Whether a model of full size loads, is planned, generates and takes LoRA steps: measure.py TOKENIZER_FOLDER NAME ...

For each NAME of random_checkpoint.py (`all` for one size of every family), this writes the checkpoint, runs `swiftlet plan`,
`swiftlet generate` (16 tokens) and `swiftlet sft` (two LoRA steps, r=16 on all linears, 1 row of 250 tokens per step), prints a
row of a table, and deletes the checkpoint. Peaks are of resident memory, which includes what is mapped of the checkpoint. CPU
seconds are of a whole process, on all threads. The tokenizer may be any with fewer tokens than the models, for instance
Phi-3's. Needs numpy and about 20 GB of disk (--folder).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

ALL = [
    "Llama-3.2-3B", "Llama-3.1-8B", "SmolLM3-3B", "Qwen2.5-3B", "Qwen3-4B", "Qwen3-30B-A3B, 12 of 48 layers",
    "Qwen3.5-4B", "Mistral-7B-v0.3", "Ministral-3-3B", "Phi-4-mini-instruct", "Gemma-2-2B", "Gemma-3-4B",
    "Gemma-4-E2B", "Gemma-4-E4B", "LFM2-2.6B", "LFM3-1.7B", "Granite-3.3-2B", "Granite-4.0-micro",
    "Granite-3.1-3B-A800M", "OLMo-2-1B", "OLMo-3-7B", "gpt-oss-20b",
]

parser = argparse.ArgumentParser()
parser.add_argument("tokenizer")
parser.add_argument("names", nargs="+")
parser.add_argument("--swiftlet", default=".build/release/swiftlet")
parser.add_argument("--folder", help="where to write checkpoints")
parser.add_argument("--tokens", type=int, default=250)
call = parser.parse_args()


def run(words):
    """The output, the peak of resident memory in GB, and the CPU time in seconds."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([call.swiftlet] + words, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        errors.seek(0)
        if status:
            raise RuntimeError(f"{' '.join(words)}\n{errors.read()}")
        return output.read(), usage.ru_maxrss * 1024 / 1e9, usage.ru_utime + usage.ru_stime


def measure(name, folder):
    model, rows = os.path.join(folder, "model"), os.path.join(folder, "rows.jsonl")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "random_checkpoint.py")
    subprocess.run([sys.executable, script, name, model, call.tokenizer], check=True)
    size = os.path.getsize(os.path.join(model, "model.safetensors")) / 1e9
    with open(rows, "w", encoding="utf-8") as file:
        for row in range(2):
            ids = [100 + (7919 * (row * call.tokens + index)) % 31000 for index in range(call.tokens)]
            file.write(json.dumps({"input_ids": ids}) + "\n")
    recipe = ["--model_name_or_path", model, "--dataset_name", rows, "--output_dir", os.path.join(folder, "output"),
              "--use_peft", "--lora_r", "16", "--lora_alpha", "32", "--lora_target_modules", "all-linear",
              "--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "1", "--max_steps", "2",
              "--logging_steps", "1", "--save_strategy", "no"]
    plan = json.loads(run(["plan", "--json"] + recipe)[0])
    answer, generated, seconds = run(["generate", "--model", model, "--raw", "--prompt", "The quick brown fox", "--json",
                                      "--max-new-tokens", "16"])
    if not json.loads(answer)["ids"]:
        raise RuntimeError(f"{name} generated nothing")
    _, trained, training = run(["sft"] + recipe)
    with open(os.path.join(folder, "output", "trainer_state.json"), encoding="utf-8") as file:
        losses = [entry["loss"] for entry in json.load(file)["log_history"] if "loss" in entry]
    if len(losses) != 2 or not all(0 < loss < 100 for loss in losses):
        raise RuntimeError(f"{name} has the losses {losses}")
    planned = plan["memory"]["total"] / 1e9
    print(f"| {name} | {size:.1f} GB | {generated:.1f} GB, {seconds:.0f} s | {planned:.2f} GB | {trained:.2f} GB "
          f"| {100 * (planned / trained - 1):+.0f}% | {training / 2:.0f} s |", flush=True)
    print(name, plan["memory"], losses, file=sys.stderr, flush=True)


print("| model | weights | generate: peak, CPU | planned | measured | error | CPU per step |\n|---|---|---|---|---|---|---|",
      flush=True)
for name in ALL if call.names == ["all"] else call.names:
    folder = tempfile.mkdtemp(dir=call.folder)
    try:
        measure(name, folder)
    except RuntimeError as error:
        print(f"{name} failed: {error}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder)
