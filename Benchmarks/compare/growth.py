"""How time and memory grow with the tokens of a step: LoRA over MODEL, rows of 256 tokens, 1 to 32 of them a step.

growth.py MODEL OUTPUT.png [--swiftlet .build/release/swiftlet] [--figures FILE.json]     needs matplotlib
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("output")
parser.add_argument("--swiftlet", default=".build/release/swiftlet")
parser.add_argument("--figures", help="draw these figures, or write them here")
call = parser.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
figures = []
if call.figures and os.path.exists(call.figures):
    with open(call.figures, encoding="utf-8") as file:
        figures = json.load(file)
for batch in [1, 2, 4, 8, 16, 32] if not figures else []:
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as rows:
        subprocess.run([sys.executable, os.path.join(here, "rows.py"), rows.name, str(batch), "256"], check=True)
        output = subprocess.run(
            [sys.executable, os.path.join(here, "swiftlet_train.py"), call.model, rows.name, "--batch", str(batch),
             "--steps", "3", "--swiftlet", call.swiftlet], check=True, capture_output=True, text=True).stdout
    figures.append({"tokens": 256 * batch, **json.loads(output.strip().splitlines()[-1])})
    print(json.dumps(figures[-1]), flush=True)
if call.figures:
    with open(call.figures, "w", encoding="utf-8") as file:
        json.dump(figures, file, indent=1)

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

figure, (speed, memory) = pyplot.subplots(1, 2, figsize=(9, 3.2), dpi=110)
tokens = [row["tokens"] for row in figures]
speed.plot(tokens, [row["tokens_per_s"] for row in figures], "o-")
speed.set(xscale="log", xlabel="tokens a step", ylabel="tokens a second", ylim=(0, None))
memory.plot(tokens, [row["peak_mb"] / 1000 for row in figures], "o-")
memory.set(xlabel="tokens a step", ylabel="peak memory in GB", ylim=(0, None))
for axes in (speed, memory):
    axes.grid(alpha=0.3)
speed.set_xticks(tokens, [str(t) for t in tokens])
speed.minorticks_off()
figure.tight_layout()
figure.savefig(call.output)
