"""Training by llama.cpp over random text: tokens a second of an epoch, as one JSON object.

llama_finetune.py MODEL-f32.gguf [--llama-finetune llama-finetune] [--tokens 512] [--batches 6] [--threads 2] [--lora]

With --lora, --llama-finetune is llama-finetune-lora of qvac-fabric-llm.cpp, which trains adapters over quantized files, too.
"""

import argparse
import json
import random
import re
import resource
import subprocess
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--llama-finetune", default="llama-finetune")
parser.add_argument("--tokens", type=int, default=512, help="of a batch, which is one sequence")
parser.add_argument("--batches", type=int, default=6)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--lora", action="store_true")
call = parser.parse_args()
random.seed(1)
with tempfile.TemporaryDirectory() as folder:
    with open(f"{folder}/text", "w", encoding="utf-8") as file:
        # A number has several tokens. What does not fill a batch is left out.
        file.write(" ".join(str(random.randrange(10**6)) for _ in range(call.tokens * call.batches // 6)))
    adapter = ["--lora-rank", "16", "--lora-alpha", "32", "--num-epochs", "1", "-fa", "off", "--lora-modules",
               "attn_q,attn_k,attn_v,attn_o,ffn_gate,ffn_up,ffn_down", "--output-adapter", f"{folder}/adapter.gguf"]
    process = subprocess.run(
        [call.llama_finetune, "-m", call.model, "-f", f"{folder}/text", "-c", str(call.tokens), "-b", str(call.tokens),
         "-ub", str(call.tokens), "-t", str(call.threads), "-ngl", "0"]
        + (adapter if call.lora else ["--epochs", "1", "-o", f"{folder}/out.gguf"]),
        capture_output=True, text=True)
# "train: [...] data=000004/000004 ... t=00:00:23"
found = re.findall(r"train:.*data=0*(\d+)/0*\d+.*?t=(\d+):(\d+):(\d+)", process.stdout + process.stderr)
if not found:
    raise SystemExit(process.stdout[-2000:] + process.stderr[-2000:])
rows, hours, minutes, seconds = (int(x) for x in found[-1])
print(json.dumps({
    "tokens_per_s": round(rows * call.tokens / max(1, hours * 3600 + minutes * 60 + seconds), 1),
    "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
}))
