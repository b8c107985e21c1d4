"""GGUF files of tiny models, made by llama.cpp's own converter (`conversion/` beside convert_hf_to_gguf.py).

`models/<name>/model.gguf` means the same as `models/<name>/model.safetensors`: `golden.json` holds for both.
`models/tokenizer/` is a byte-level tokenizer for all tiny models; it is also what the GGUF files carry.
"""

import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM

from .values import write

NAMES = [
    "llama_tied", "llama_llama3", "qwen2", "qwen3", "phi3", "phi3_longrope", "gemma3_six_layers", "granite", "olmo2",
    "gemma2", "phi4_mini", "olmo3", "ministral3", "lfm2", "qwen3_moe", "gpt_oss", "granitemoe", "gemma4_gguf",
    "gemma4_keys", "qwen3_5_gguf",
]
READ_BY_TRANSFORMERS = {"llama_tied", "qwen2", "qwen3", "phi3", "gemma3_six_layers"}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NEVER_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}
MERGES = ["Ġ t", "h e", "Ġt he", "Ġ a", "i n", "o n", "e r", "r e", "Ġ s", "a n"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_characters():
    """GPT-2's visible stand-in for every byte."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + index) for index, byte in enumerate(others)}


def make_tokenizer(folder):
    """256 tokens: three special ones, the 243 bytes that occur in UTF-8, ten merges."""
    pieces = [character for byte, character in sorted(byte_characters().items()) if byte not in NEVER_IN_UTF8]
    pieces = SPECIAL + pieces + [merge.replace(" ", "") for merge in MERGES]
    assert len(pieces) == len(set(pieces)) == 256
    vocabulary = {piece: id for id, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(merge.split()) for merge in MERGES]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write(folder / "tokenizer_config.json", {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "bos_token": SPECIAL[1],
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
        "unk_token": SPECIAL[0],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 128,
        "chat_template": CHAT_TEMPLATE,
    })


def convert(folder, tokenizer, output, llama_cpp):
    """What convert_hf_to_gguf.py does, but told the name of the pre-tokenizer: it knows only published ones by hash."""
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    import gguf
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        scratch = Path(scratch) / folder.name
        shutil.copytree(folder, scratch, ignore=shutil.ignore_patterns("*.gguf", "golden.json", "config_before_5.json"))
        shutil.copytree(tokenizer, scratch, dirs_exist_ok=True)
        original = get_model_class(get_model_architecture(ModelBase.load_hparams(scratch, False), ModelType.TEXT))

        # Mistral 3's class only hands everything to one of two others.
        original = getattr(original, "Ministral3Model", original)

        class Converter(original):
            model_arch = original.model_arch
            no_mtp = True  # the tiny models have no blocks that predict further tokens

            def set_vocab(self):
                self._set_vocab_gpt2()

            def get_vocab_base_pre(self, tokenizer):
                return "gpt-2"

        Converter(scratch, gguf.LlamaFileType.ALL_F32, output, model_name=folder.name).write()


def check(folder):
    """transformers must read the same weights from the GGUF. It overlooks head sizes there: hence the configuration."""
    kept = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", config=kept.config)
    ids = torch.tensor([json.loads((folder / "golden.json").read_text())["sequences"][0]["ids"]])
    with torch.no_grad():
        return (read(ids).logits - kept(ids).logits).abs().max().item()


def make(folder, arguments):
    folder = folder.parent / "models"
    make_tokenizer(folder / "tokenizer")
    for name in arguments.names or NAMES:
        convert(folder / name, folder / "tokenizer", folder / name / "model.gguf", arguments.llama_cpp)
        difference = f"{check(folder / name):.3g}" if name in READ_BY_TRANSFORMERS else "not compared"
        print(f"{name}: largest difference of logits as transformers reads the GGUF: {difference}")
