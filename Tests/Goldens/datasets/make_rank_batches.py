"""Writes rank_batches.json: the batches that accelerate gives each process.

Run with the Python packages that Tests/Goldens/README.md pins:
    python make_rank_batches.py
"""

import json
import pathlib

from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler

# Items, batch size, processes, and whether an incomplete last batch is dropped.
CASES = [
    (10, 2, 2, False), (11, 2, 2, False), (7, 2, 3, False), (3, 2, 4, False), (12, 3, 2, False), (11, 2, 3, True),
    (1, 2, 2, False), (5, 1, 4, False), (13, 4, 3, False),
]

out = []
for items, batch, ranks, drop in CASES:
    per = [list(BatchSamplerShard(BatchSampler(range(items), batch, drop), ranks, rank)) for rank in range(ranks)]
    out.append({"items": items, "batch": batch, "ranks": ranks, "drop": drop, "per": per})
path = pathlib.Path(__file__).with_name("rank_batches.json")
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
