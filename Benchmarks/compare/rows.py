"""Writes pre-tokenized rows of random ids: rows.py FILE ROWS TOKENS [VOCABULARY]"""

import json
import random
import sys

path, rows, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
vocabulary = int(sys.argv[4]) if len(sys.argv) > 4 else 49152
random.seed(1)
with open(path, "w", encoding="utf-8") as file:
    for _ in range(rows):
        file.write(json.dumps({"input_ids": [random.randrange(100, vocabulary) for _ in range(tokens)]}) + "\n")
