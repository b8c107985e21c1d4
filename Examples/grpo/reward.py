#!/usr/bin/env python3
"""A reward for sums: 1 if the last number of the completion is the answer, and 0.2 more if it is nothing but a number.

Reads a JSON object per line, with the completion and the row's answer, and prints a number per line.
"""

import json
import re
import sys

for line in sys.stdin:
    row = json.loads(line)
    numbers = re.findall(r"\d+", row["completion"].replace(",", ""))
    is_right = bool(numbers) and numbers[-1] == row["answer"]
    is_brief = re.fullmatch(r"\s*\d+\.?\s*", row["completion"]) is not None
    print(1.0 * is_right + 0.2 * is_brief)
