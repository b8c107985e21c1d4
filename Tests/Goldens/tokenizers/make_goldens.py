"""Makes the golden files of the tokenizer tests.

    python make_goldens.py SMOLLM2_FOLDER       # needs tokenizers==0.23.3

Trains a small tokenizer of each kind, and writes each with the ids and texts that `tokenizers` makes of the same lines;
then does so for the real SmolLM2 (Apache-2.0), whose `tokenizer.json` lies in the folder given.
"""

import base64
import json
import random
import struct
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from varied_lines import CANTONESE, DIGITS, ENGLISH, fuzzed, lines

HERE = Path(__file__).parent
TINY = HERE / "tiny"
CORPUS = lines(1500, seed=11)
LINES = lines(120, seed=12) + list(fuzzed(80, seed=13)) + ["", " ", "  ", "\n", "a", " a", "a ", "▁", " " * 300 + "x", "ab" * 120]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^" + "\r\n" + r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["
            + "\r\n" + r"]*|\s*[" + "\r\n" + r"]+|\s+(?!\S)|\s+"]
SPECIAL = [AddedToken("<unk>", special=True, normalized=False), AddedToken("<s>", special=True, normalized=False),
           AddedToken("</s>", special=True, normalized=False), AddedToken("<|im_start|>", special=True, normalized=False),
           AddedToken("<|im_end|>", special=True, normalized=False, rstrip=True), AddedToken("<think>", normalized=False)]
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def level(regex=False, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def template(tokenizer, bos="<s>", eos=None):
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A" + (f" {eos}" if eos else ""), pair=f"{bos} $A $B:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in [bos, eos] if token])


def byte_level(pre_tokenizer, normalizer=None, size=640, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tokenizer


def spaced_decoder(strip):
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if strip else []))


def sentence_piece(normalizer, pre_tokenizer, strip, train_pre=None):
    """BPE with byte fall-back; words are split at spaces for training only, as SentencePiece does."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = train_pre or pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=900, special_tokens=SPECIAL[:3] + [AddedToken(b) for b in BYTES] + SPECIAL[3:], limit_alphabet=200,
        show_progress=False))
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = [t for t in description["added_tokens"] if t["content"] not in BYTES]
    tokenizer = Tokenizer.from_str(json.dumps(description))
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    else:
        description = json.loads(tokenizer.to_str())
        description["pre_tokenizer"] = None
        tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.decoder = spaced_decoder(strip)
    return tokenizer


def unigram(normalizer, pre_tokenizer, decoder, byte_fallback=False):
    tokenizer = Tokenizer(models.Unigram())
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    extra = [AddedToken(b) for b in BYTES] if byte_fallback else []
    # The trainer wants room for every character it sees.
    corpus = [" ".join(random.Random(i).choices(ENGLISH + CANTONESE[:5] + DIGITS[:9], k=12)) for i in range(800)]
    tokenizer.train_from_iterator(corpus, trainers.UnigramTrainer(
        vocab_size=700 if byte_fallback else 450, special_tokens=SPECIAL + extra, unk_token="<unk>", show_progress=False))
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = [t for t in description["added_tokens"] if t["content"] not in BYTES]
    description["model"]["byte_fallback"] = byte_fallback
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.decoder = decoder
    return tokenizer


def words(pre_tokenizer, normalizer=None, decoder=None, **options):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", **options))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    if decoder:
        tokenizer.decoder = decoder
    keys = {k: v for k, v in options.items() if k in ("continuing_subword_prefix", "end_of_word_suffix")}
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=600, special_tokens=SPECIAL, limit_alphabet=150, show_progress=False, **keys))
    return tokenizer


def tokenizers():
    sequence, replace = pre_tokenizers.Sequence, normalizers.Replace(" ", "▁")
    yield "gpt2", byte_level(level(regex=True))
    yield "gpt2-split", byte_level(sequence([split(GPT2), level()]))
    roberta = byte_level(level(regex=True, prefix=True))
    roberta.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    roberta.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    yield "roberta", roberta
    llama3 = byte_level(sequence([split(LLAMA3), level()]), ignore_merges=True)
    template(llama3)
    yield "llama3", llama3
    yield "qwen", byte_level(sequence([split(QWEN), level()]), normalizers.NFC())
    yield "qwen35", byte_level(sequence([split(QWEN35), level()]), normalizers.NFC())
    yield "gpt4o", byte_level(sequence([split(GPT4O, "removed", True), level()]))
    yield "smollm", byte_level(sequence([pre_tokenizers.Digits(True), level(regex=True)]))
    yield "deepseek", byte_level(sequence([split(p) for p in DEEPSEEK] + [level()]))
    yield "falcon", byte_level(sequence([pre_tokenizers.Punctuation("contiguous"), level(regex=True), split("[0-9][0-9][0-9]")]))
    yield "lines", byte_level(sequence([split("[\r\n]"), split(r"\s+$"), split(r"^#+"), split(r"\w+|[^\w\s]+"), level()]))
    llama2 = sentence_piece(normalizers.Sequence([normalizers.Prepend("▁"), replace]), None, True)
    template(llama2)
    yield "llama2", llama2
    yield "gemma", sentence_piece(replace, pre_tokenizers.Split(" ", "merged_with_previous"), False)
    yield "mistral", sentence_piece(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), True,
                                    pre_tokenizers.Metaspace(prepend_scheme="first"))
    yield "metaspace", sentence_piece(None, pre_tokenizers.Metaspace(), True, pre_tokenizers.Metaspace())
    yield "crossing", sentence_piece(replace, None, False, pre_tokenizers.Split(Regex("[\r\n]+"), "isolated"))
    spaced = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
    albert = unigram(spaced, pre_tokenizers.Metaspace(), decoders.Metaspace())
    template(albert, "<s>", "</s>")
    yield "unigram", albert
    yield "unigram-bytes", unigram(replace, pre_tokenizers.Metaspace("▁", "never"), spaced_decoder(False), True)
    yield "clip", words(split(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", "removed", True),
                        normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]), decoders.BPEDecoder("</w>"),
                        end_of_word_suffix="</w>")
    yield "prefixed", words(pre_tokenizers.Whitespace(), None, None, continuing_subword_prefix="##", fuse_unk=True)
    accents = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.NFKD()])
    yield "accents", words(sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]), accents)
    yield "splits", words(sequence([pre_tokenizers.CharDelimiterSplit("-"), split(r"[aeiou]+", "merged_with_previous"), split(r"\d", "merged_with_next"),
                                    split(r"\p{Lu}", "contiguous"), pre_tokenizers.Split("。", "removed"), pre_tokenizers.Digits(False)]))
    flags = byte_level(level(regex=True), normalizers.Lowercase())
    flags.add_tokens([AddedToken("Tokenizer", single_word=True, normalized=False), AddedToken("MOOD", normalized=True), AddedToken("the", single_word=True),
                      AddedToken("  ", lstrip=True, rstrip=True, normalized=False), AddedToken("，", lstrip=True), AddedToken("e", single_word=True, rstrip=True)])
    yield "flags", flags


def packed(ids):
    return base64.b64encode(struct.pack(f"<{len(ids)}H", *ids)).decode()


def golden(tokenizer, texts):
    """Ids as base64 of 16-bit numbers, and the decoded text where it is not the text itself."""
    rows = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        row = [packed(ids)]
        whole, plain = tokenizer.decode(ids, skip_special_tokens=False), tokenizer.decode(ids, skip_special_tokens=True)
        if whole != text or plain != text:
            row.append(whole)
        if plain != whole:
            row.append(plain)
        rows.append(row)
    return rows


def dump(path, value, **options):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), **options) + "\n")


def tiny():
    TINY.mkdir(exist_ok=True)
    dump(TINY / "lines.json", LINES)
    for name, tokenizer in tokenizers():
        (TINY / name).mkdir(exist_ok=True)
        text = json.loads(tokenizer.to_str())
        dump(TINY / name / "tokenizer.json", text)
        # From the file, as some parts say less once written than in memory.
        dump(TINY / name / "expected.json", golden(Tokenizer.from_str(json.dumps(text)), LINES))


def smollm2(folder):
    """The vocabulary as what cannot be derived, and the merges as pairs of ids: each makes the next token."""
    path = Path(folder)
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    description = json.loads((path / "tokenizer.json").read_text())
    vocabulary, merges = description["model"].pop("vocab"), description["model"].pop("merges")
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    derived = {vocabulary[a + b] for a, b in pairs}
    numbers = [n for a, b in pairs for n in (vocabulary[a], vocabulary[b], vocabulary[a + b])]
    folder = HERE / "smollm2"
    folder.mkdir(exist_ok=True)
    (folder / "merges.bin").write_bytes(struct.pack(f"<{len(numbers)}H", *numbers))
    dump(folder / "skeleton.json", {"tokenizer": description, "tokens": {t: i for t, i in vocabulary.items() if i not in derived}})
    alphabet = json.loads(Tokenizer(models.BPE()).to_str()) and {chr(s): b for b, s in byte_scalars().items()}
    missing = {alphabet[c] for c in alphabet if c not in vocabulary}
    texts = [t for t in lines(2600, seed=21) if not missing & set(t.encode())][:2000]
    texts += [t for t in fuzzed(400, seed=22) if not missing & set(t.encode())][:250]
    lossy = [t for t in lines(2600, seed=21) if missing & set(t.encode())][:40]
    dump(folder / "lines.json", {
        "lines": [[t, packed(tokenizer.encode(t).ids)] for t in texts],
        "lossy": [[t, packed(tokenizer.encode(t).ids), tokenizer.decode(tokenizer.encode(t).ids, skip_special_tokens=False)] for t in lossy]})
    assert all(tokenizer.decode(tokenizer.encode(t).ids, skip_special_tokens=False) == t for t in texts)


def byte_scalars():
    scalars, extra = {}, 256
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or 0xAE <= byte:
            scalars[byte] = byte
        else:
            scalars[byte], extra = extra, extra + 1
    return scalars


if __name__ == "__main__":
    tiny()
    smollm2(sys.argv[1])
