"""Every-weight training by llama.cpp: tokens a second of an epoch over random text.

llama_finetune.py MODEL-f32.gguf [--llama-finetune llama-finetune] [--tokens 512] [--threads 2]
"""

import argparse
import json
import random
import re
import subprocess
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--llama-finetune", default="llama-finetune")
parser.add_argument("--tokens", type=int, default=512)
parser.add_argument("--threads", type=int, default=2)
call = parser.parse_args()
random.seed(1)
with tempfile.TemporaryDirectory() as folder:
    with open(f"{folder}/text", "w", encoding="utf-8") as file:
        file.write(" ".join(str(random.randrange(10**6)) for _ in range(call.tokens)))
    process = subprocess.run(
        [call.llama_finetune, "-m", call.model, "-f", f"{folder}/text", "-c", str(call.tokens), "-b", str(call.tokens),
         "-ub", str(call.tokens), "-t", str(call.threads), "--epochs", "1", "-o", f"{folder}/out.gguf", "-ngl", "0"],
        capture_output=True, text=True)
# "train: [...] data=000004/000004 ... t=00:00:23"
found = re.findall(r"train:.*data=0*(\d+)/0*\d+.*?t=(\d+):(\d+):(\d+)", process.stdout + process.stderr)
if not found:
    raise SystemExit(process.stdout[-2000:] + process.stderr[-2000:])
rows, hours, minutes, seconds = (int(x) for x in found[-1])
print(json.dumps({"tokens_per_s": round(rows * call.tokens / max(1, hours * 3600 + minutes * 60 + seconds), 1)}))
