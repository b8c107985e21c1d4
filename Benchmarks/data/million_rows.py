#!/usr/bin/env python3
"""Writes JSON Lines of prompts and completions, about 1 KB a row:

    python3 Benchmarks/data/million_rows.py rows.jsonl 1000000

With DuckDB's command line the same rows as Parquet:

    duckdb -c "COPY (SELECT * FROM read_json('rows.jsonl')) TO 'rows.parquet'"
"""

import json
import random
import sys

WORDS = (
    "the of and to in a is that it was for on are as with his they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so these "
    "would other into has more her two like him see time could no make than first been its who now people my made over "
    "did down only way find use may water long little very after words called just where most know 河 石 水 行 慢慢 橋 上面"
).split()


def main():
    path, count = sys.argv[1], int(sys.argv[2])
    draw = random.Random(1)
    # Whole sentences are drawn, since a draw a word would take minutes.
    sentences = [" ".join(draw.choices(WORDS, k=draw.randint(5, 15))) + "." for _ in range(50_000)]
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            prompt = " ".join(draw.choices(sentences, k=4))
            completion = " ".join(draw.choices(sentences, k=draw.randint(10, 24)))
            row = {"id": number, "prompt": f"{number}: {prompt}", "completion": completion}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
