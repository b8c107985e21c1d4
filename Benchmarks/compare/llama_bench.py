"""llama.cpp's own benchmark as one JSON object, with the keys of `swiftlet bench --json`.

llama_bench.py MODEL.gguf [--llama-bench llama-bench] [--prompt 256] [--decode 64] [--threads 2]
"""

import argparse
import json
import subprocess

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--llama-bench", default="llama-bench")
parser.add_argument("--prompt", type=int, default=256)
parser.add_argument("--decode", type=int, default=64)
parser.add_argument("--threads", type=int, default=2)
call = parser.parse_args()
output = subprocess.run(
    [call.llama_bench, "-m", call.model, "-p", str(call.prompt), "-n", str(call.decode), "-t", str(call.threads), "-r", "1",
     "-o", "json"],
    check=True, capture_output=True, text=True).stdout
figures = {}
for test in json.loads(output):
    figures["prompt_tokens_per_s" if test["n_prompt"] else "decode_tokens_per_s"] = round(test["avg_ts"], 1)
print(json.dumps(figures))
