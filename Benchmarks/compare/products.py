"""Matrix products x W^T in float32 by torch (MKL) or NumPy (OpenBLAS), 10^9 operations a second by shape.

products.py torch|numpy [--threads 2]      the shapes of `swiftlet bench`
"""

import argparse
import json
import os
import time

parser = argparse.ArgumentParser()
parser.add_argument("library", choices=["torch", "numpy"])
parser.add_argument("--threads", type=int, default=2)
call = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(call.threads)

ROWS = [256, 1024, 2048]
# SmolLM2-135M, Qwen3-0.6B, Phi-3-mini: columns out, columns in.
LINEARS = [
    (576, 576), (1536, 576), (576, 1536), (2048, 1024), (3072, 1024), (1024, 3072), (3072, 3072), (16384, 3072), (3072, 8192),
]


def product(m, n, k):
    if call.library == "torch":
        import torch

        torch.set_num_threads(call.threads)
        x, w, y = torch.randn(m, k), torch.randn(n, k), torch.empty(m, n)
        return lambda: torch.mm(x, w.T, out=y)
    import numpy

    random = numpy.random.default_rng(0)
    x, w = random.standard_normal((m, k), numpy.float32), random.standard_normal((n, k), numpy.float32)
    y = numpy.empty((m, n), numpy.float32)
    return lambda: numpy.matmul(x, w.T, out=y)


figures = {}
for m in ROWS:
    for n, k in LINEARS:
        if m * n * k > 2 << 34:
            continue
        run = product(m, n, k)
        run()
        times = []
        while len(times) < 5 or sum(times) < 0.05:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        figures[f"{m}x{n}x{k} float32"] = round(2e-9 * m * n * k / min(times), 1)
print(json.dumps(figures))
