"""Writes Sources/Tokenizers/UnicodeCategoryTable.swift and UnicodeDecompositionTable.swift.

The tables hold what Hugging Face's `tokenizers` itself believes about Unicode (its regular expressions know version 16,
its normalizers an older one), asked of it scalar by scalar, so that token ids do not change with the Swift tool chain.

    python make_unicode_tables.py ../../../Sources/Tokenizers        # needs tokenizers==0.23.3
"""

import string
import sys
import textwrap
import unicodedata
from pathlib import Path

from tokenizers import Regex, normalizers

CATEGORIES = "Cn Cc Cf Co Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl Zp Zs".split()
LETTERS = string.ascii_uppercase + string.ascii_lowercase
SCALARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ALL = "".join(SCALARS)


def matching(pattern):
    """Every scalar that the character class `pattern` matches."""
    return normalizers.Replace(Regex(f"[^{pattern}]+"), "").normalize_str(ALL)


def base36(number):
    digits = string.digits + string.ascii_lowercase
    text = ""
    while number or not text:
        number, digit = divmod(number, 36)
        text = digits[digit] + text
    return text


def runs(values):
    text, last, count = "", values[0], 0
    for value in values + [None]:
        if value != last:
            text += last + (str(count) if count > 1 else "")
            last, count = value, 0
        count += 1
    return text


def literal(text):
    return "\n".join(f"    {line}\\" for line in textwrap.wrap(text, 112, break_on_hyphens=False, drop_whitespace=False))


def spans(name, comment, scalars):
    found = []
    for c in sorted(map(ord, scalars)):
        if found and found[-1][1] == c:
            found[-1][1] = c + 1
        else:
            found.append([c, c + 1])
    line = ", ".join(f"0x{a:X}..<0x{b:X}" for a, b in found)
    swift = f"  /// {comment}\n  static let {name}: [Range<UInt32>] = [\n"
    return swift + "\n".join("    " + l for l in textwrap.wrap(line, 110)) + ",\n  ]\n"


def member(name, comment, text):
    return f'  /// {comment}\n  static let {name}: StaticString = """\n{literal(text)}\n\n    """\n'


HEADER = "// Made by Tests/Goldens/tokenizers/make_unicode_tables.py; do not edit.\n\n"


def categories():
    of = {}
    for index, category in enumerate(CATEGORIES):
        for scalar in matching(f"\\p{{{category}}}"):
            of[scalar] = LETTERS[index]
    letters = runs([of.get(chr(c), LETTERS[0]) for c in range(0x110000)])
    word = set(matching("\\w"))
    plain = set(matching("\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}"))
    assert plain <= word
    assert matching("\\s") == "\t\n\v\f\r\x20\x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + (
        "\u2028\u2029\u202f\u205f\u3000")
    swift = HEADER + "enum UnicodeCategoryTable {\n"
    swift += member("categories", "A letter for the category of a run of scalars (A is the first of "
                    "`UnicodeCategory`), then the run's length where it is not 1.", letters)
    swift += spans("otherWordScalars", "What `\\w` matches beyond letters, marks, decimal and letter numbers and connectors.",
                   word - plain)
    kept = normalizers.StripAccents().normalize_str(matching("\\p{M}"))
    swift += spans("marksKept", "Marks that `StripAccents` leaves, as its tables are older.", kept) + "}\n"
    return swift


def decompositions():
    canonical, compatible = normalizers.NFD(), normalizers.NFKD()
    composed = normalizers.NFC()
    texts = {"canonical": "", "compatibility": "", "combiningClasses": "", "excluded": ""}
    last = dict.fromkeys(texts, 0)

    def add(table, scalar, values):
        delta = ord(scalar) - last[table]
        last[table] = ord(scalar)
        texts[table] += ("," if texts[table] else "") + ".".join([base36(delta)] + [base36(v) for v in values])

    # One step of decomposition is what composition undoes; unicodedata knows it, tokenizers says which apply.
    for scalar in SCALARS:
        if "\uac00" <= scalar <= "\ud7a3":
            continue
        full = canonical.normalize_str(scalar)
        if full != scalar:
            step = [int(x, 16) for x in unicodedata.decomposition(scalar).split()]
            assert 1 <= len(step) <= 2, scalar
            add("canonical", scalar, step)
            if len(step) == 2 and composed.normalize_str(scalar) != scalar:
                add("excluded", scalar, [])
        if compatible.normalize_str(scalar) != full:
            add("compatibility", scalar, [ord(c) for c in compatible.normalize_str(scalar)])
        # U+0345 has class 240, U+0334 class 1: a scalar that changes places with either has a class of its own.
        if canonical.normalize_str("\u0345" + scalar) != "\u0345" + full or (
                canonical.normalize_str(scalar + "\u0334") != full + "\u0334") or scalar in "\u0345\u0334":
            if len(full) == 1 and unicodedata.combining(scalar):
                add("combiningClasses", scalar, [unicodedata.combining(scalar)])
    swift = HEADER + "/// Entries are separated by commas, their numbers (base 36) by points; the first is the distance to the\n"
    swift += "/// entry before.\nenum UnicodeDecompositionTable {\n"
    swift += member("canonical", "A scalar and one step of its canonical decomposition.", texts["canonical"])
    swift += member("excluded", "Scalars with a canonical decomposition that are never composed.", texts["excluded"])
    swift += member("compatibility", "A scalar and its full compatibility decomposition, where that differs from the "
                    "canonical one.", texts["compatibility"])
    swift += member("combiningClasses", "A scalar and its canonical combining class, where that is not 0.",
                    texts["combiningClasses"])
    return swift + "}\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "UnicodeCategoryTable.swift").write_text(categories())
    (folder / "UnicodeDecompositionTable.swift").write_text(decompositions())
