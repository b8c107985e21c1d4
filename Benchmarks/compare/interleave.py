"""Runs several commands in turn, A B A B ..., and prints each one's medians and the ratios to the first.

interleave.py ROUNDS 'name=command' 'name=command' ...      each command prints one JSON object of numbers last
"""

import json
import statistics
import subprocess
import sys

rounds = int(sys.argv[1])
commands = [argument.split("=", 1) for argument in sys.argv[2:]]
figures = {name: [] for name, _ in commands}
for _ in range(rounds):
    for name, command in commands:
        output = subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
        figures[name].append(json.loads(output.strip().splitlines()[-1]))
        print(name, figures[name][-1], flush=True)
first = commands[0][0]
for name, _ in commands:
    line = [name]
    for key in figures[name][0]:
        values = [figure[key] for figure in figures[name]]
        line.append(f"{key} {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
        if name != first and key in figures[first][0]:
            ratios = [a[key] / b[key] for a, b in zip(figures[first], figures[name])]
            line.append(f"{first}/{name} {statistics.median(ratios):.2f}")
    print("  ".join(line))
