"""Writes packing.json: what trl.pack_dataset makes of documents of given lengths.

Run with the Python packages that Tests/Goldens/README.md pins:
    python make_packing.py
"""

import json
import os
import pathlib
import random

os.environ["HF_HUB_OFFLINE"] = "1"

from datasets import Dataset, disable_progress_bars
from trl import pack_dataset

disable_progress_bars()
random.seed(20)
cases = []


def case(lengths, seq_length, strategy):
    total = 0
    ids, labels = [], []
    for i, n in enumerate(lengths):
        ids.append(list(range(total, total + n)))
        labels.append([x if (x + i) % 3 else -100 for x in ids[-1]])
        total += n
    packed = pack_dataset(Dataset.from_dict({"input_ids": ids, "labels": labels}), seq_length, strategy)
    items = []
    for row in packed:
        lengths_of = row.get("seq_lengths") or [len(row["input_ids"])]
        assert sum(lengths_of) == len(row["input_ids"])
        pieces, at = [], 0
        for n in lengths_of:
            piece = row["input_ids"][at:at + n]
            assert piece == list(range(piece[0], piece[0] + n)), "a piece is a stretch of the joined documents"
            pieces.append([piece[0], piece[0] + n])
            at += n
        items.append(pieces)
    cases.append({"lengths": lengths, "length": seq_length, "strategy": strategy, "items": items})


for strategy in ["bfd", "bfd_split", "wrapped"]:
    case([5, 2, 3, 1], 4, strategy)
    case([4, 4, 4], 4, strategy)
    case([1], 8, strategy)
    case([3, 0, 9, 2, 0, 17, 1, 8], 8, strategy)
    case([random.randint(1, 40) for _ in range(60)], 32, strategy)
    case([random.randint(1, 9) for _ in range(80)], 9, strategy)
    case([random.choice([1, 2, 3, 60]) for _ in range(1030)], 64, strategy)

path = pathlib.Path(__file__).with_name("packing.json")
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
print(path, path.stat().st_size)
