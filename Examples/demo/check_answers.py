"""Counts how many Yoda-speak answers keep to the rule of this data set.

An answer is good when
  * at most one word of the sentence is missing from it,
  * at most three words were added, and
  * its words stand in another order than the sentence's.

Words are compared in lower case and without punctuation, each as often as it occurs;
"cannot" and contractions with "n't" are read as two words ("don't" as "do not").

    python3 check_answers.py answers.jsonl --at-least 36
    python3 check_answers.py compared.json --answer-key after --at-least 32
    python3 check_answers.py train.jsonl --at-least 360

The file holds a JSON list, or one JSON object a line: `sentence` and `answer`; or what `swiftlet compare --json` prints;
or rows of the data set.
Exit status: 0 enough good answers, 1 too few, 2 the file or the call was wrong.
"""

import argparse
import json
import re
import sys
from collections import Counter

MAX_MISSING = 1
MAX_ADDED = 3

# Letters and digits; an apostrophe or hyphen only inside a word, so that quotation marks fall away.
WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


# Read apart, so that "Don't wake him." and "Wake him, you must not." share their "not".
NEGATIONS = (("cannot", "can not"), ("can't", "can not"), ("won't", "will not"), ("shan't", "shall not"), ("n't", " not"))


def words(text):
    text = text.lower().replace("\u2019", "'")
    for short, full in NEGATIONS:
        text = re.sub(short + r"\b", full, text)
    return WORD.findall(text)


def fault(sentence, answer):
    """Why the answer breaks the rule, or None when it is good."""
    given, made = words(sentence), words(answer)
    missing = Counter(given) - Counter(made)
    added = Counter(made) - Counter(given)
    if missing.total() > MAX_MISSING:
        return "missing: " + " ".join(missing.elements())
    if added.total() > MAX_ADDED:
        return "added: " + " ".join(added.elements())
    if not reordered(given, made):
        return "same order as the sentence"
    return None


def reordered(given, made):
    """Whether the words both share stand in another order; adding or dropping a word alone is no new order."""
    shared = Counter(given) & Counter(made)
    return kept(given, shared) != kept(made, shared)


def kept(sequence, allowance):
    left = Counter(allowance)
    result = []
    for word in sequence:
        if left[word] > 0:
            left[word] -= 1
            result.append(word)
    return result


def read_rows(path, answer_key):
    """(sentence, answer) pairs; ValueError says which row cannot be used and what it needs."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.lstrip().startswith("["):
        rows = list(enumerate(json.loads(text), start=1))
    else:
        # Not splitlines: it would also cut at separators that JSON allows inside a string.
        rows = [(n, json.loads(line)) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    pairs = []
    for number, row in rows:
        pair = sentence_and_answer(row, answer_key)
        if not all(isinstance(text, str) for text in pair):
            raise ValueError(f"row {number} needs text under 'sentence' and '{answer_key}', or a prompt and completion")
        pairs.append(pair)
    return pairs


def sentence_and_answer(row, answer_key):
    """Of a row of answers, of `swiftlet compare --json`, or of the data set itself (messages)."""
    if not isinstance(row, dict):
        return None, None
    if "prompt" in row and "completion" in row:
        return row["prompt"][-1].get("content"), row["completion"][-1].get("content")
    return row.get("sentence", row.get("question")), row.get(answer_key)


def main():
    parser = argparse.ArgumentParser(description="Count the answers that keep to the Yoda-speak rule.")
    parser.add_argument("file", help="JSON list or JSON lines with sentence and answer")
    parser.add_argument("--at-least", type=int, default=1, metavar="N", help="good answers needed for exit status 0")
    parser.add_argument("--answer-key", default="answer", metavar="KEY", help="column of the answers (default: answer)")
    parser.add_argument("--quiet", action="store_true", help="print the count only")
    call = parser.parse_args()
    try:
        pairs = read_rows(call.file, call.answer_key)
    except (OSError, ValueError) as error:
        print(f"{call.file}: {error}", file=sys.stderr)
        return 2
    good = 0
    for sentence, answer in pairs:
        reason = fault(sentence, answer)
        if reason is None:
            good += 1
        elif not call.quiet:
            print(f"- {sentence}\n  {answer}\n  {reason}")
    print(f"{good} of {len(pairs)} answers are good")
    return 0 if good >= call.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
