"""Figures of `swiftlet bench` as one flat JSON object.

swiftlet_bench.py machine|products|MODEL [--decode 64] [--swiftlet .build/release/swiftlet]
"""

import argparse
import json
import subprocess

parser = argparse.ArgumentParser()
parser.add_argument("what")
parser.add_argument("--decode", type=int, default=64)
parser.add_argument("--swiftlet", default=".build/release/swiftlet")
call = parser.parse_args()
arguments = ["--only", call.what]
if call.what not in ("machine", "products"):
    arguments = ["--only", "generation", "--model", call.what, "--decode", str(call.decode)]
output = subprocess.run([call.swiftlet, "bench", "--json"] + arguments, check=True, capture_output=True, text=True).stdout
figures = json.loads(output)
print(json.dumps({k: round(v, 1) for k, v in (figures.get("product_gflops") or figures).items() if k != "peak_bytes"}))
