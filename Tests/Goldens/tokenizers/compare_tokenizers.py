"""Writes, for a folder with a `tokenizer.json`, what Hugging Face's `tokenizers` makes of many texts.

    python compare_tokenizers.py FOLDER OUTPUT.jsonl [--lines 2000] [--fuzz 50000] [--seed 2]

A line each: [text, ids, decoded]. The test `RealTokenizerTests` reads such files; see there.
"""

import argparse
import json

from tokenizers import Tokenizer

from varied_lines import fuzzed, lines

arguments = argparse.ArgumentParser()
arguments.add_argument("folder")
arguments.add_argument("output")
arguments.add_argument("--lines", type=int, default=2000)
arguments.add_argument("--fuzz", type=int, default=50000)
arguments.add_argument("--seed", type=int, default=2)
arguments = arguments.parse_args()

tokenizer = Tokenizer.from_file(f"{arguments.folder}/tokenizer.json")
with open(arguments.output, "w") as output:
    for text in lines(arguments.lines, arguments.seed + 5) + list(fuzzed(arguments.fuzz, arguments.seed)):
        ids = tokenizer.encode(text).ids
        output.write(json.dumps([text, ids, tokenizer.decode(ids, skip_special_tokens=False)]) + "\n")
