"""Writes forms.json and tokenizer/: what TRL's SFTTrainer makes of rows of every form.

Run with the Python packages that Tests/Goldens/README.md pins:
    python make_forms.py
"""

import json
import logging
import os
import pathlib
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from datasets import Dataset, disable_progress_bars
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

disable_progress_bars()
logging.disable(logging.WARNING)
here = pathlib.Path(__file__).resolve().parent

TEMPLATE = (
    "{%- if tools %}{{ '<|im_start|>system\\nTools:' }}{% for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}"
    "{{ '<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}"
    "{% generation %}{% if message.content %}{{ message.content }}{% endif %}"
    "{% if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif %}{{ '<|im_end|>' }}{% endgeneration %}"
    "{{ '\\n' }}"
    "{%- else %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
CORPUS = [
    "The birch canoe slid on the smooth planks. On the smooth planks, the birch canoe slid.",
    "What color is the sky? The sky is blue. What is two plus two? It is four.",
    "啲咁耐就攪掂嘞，真係掯。他一會兒工夫就弄好了，真神。",
    "system user assistant tool weather in Paris {\"city\": \"Paris\"} get_weather",
] * 3


def make_tokenizer(name, adds_bos):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        **({"bos_token": "<|endoftext|>"} if adds_bos else {}))
    fast.chat_template = TEMPLATE
    fast.save_pretrained(here / name)
    return AutoTokenizer.from_pretrained(here / name)


tokenizers = {"tokenizer": make_tokenizer("tokenizer", False), "tokenizer_bos": make_tokenizer("tokenizer_bos", True)}
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=400, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
    max_position_embeddings=64))


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


plain = [
    {"prompt": "The sky is ", "completion": "blue."},
    {"prompt": "The sky is", "completion": " blue."},
    {"prompt": "What is two plus tw", "completion": "o? It is four.<|im_end|>"},
    {"prompt": "佢鬼咁", "completion": "譖氣🙂"},
    {"prompt": "", "completion": "It is four."},
]
chat_pairs = [
    {"prompt": [user("What color is the sky?")], "completion": [assistant("It is blue.")]},
    {"prompt": [{"role": "system", "content": "Be brief."}, user("Two plus two?")], "completion": [assistant("Four.")]},
    {"prompt": [user("啲咁耐")], "completion": [assistant("真神🙂"), user("The sky?"), assistant("Blue.")]},
]
chats = [
    {"messages": [user("What color is the sky?"), assistant("It is blue."), user("And?"), assistant("No more.🙂")]},
    {"messages": [{"role": "system", "content": "Be brief."}, user("Two?"), assistant("Two.")]},
]
tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}}}}}]
call = {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "get_weather", "arguments": {
    "city": "Paris"}}}]}

CASES = [
    ("text", [{"text": "The birch canoe."}, {"text": "Closed.<|im_end|>"}, {"text": "真神🙂"}], {}),
    ("text in another column", [{"story": "The birch canoe."}], {"dataset_text_field": "story"}),
    ("text with bos", [{"text": "The birch canoe."}], {"tokenizer": "tokenizer_bos"}),
    ("text with another eos", [{"text": "The birch canoe."}], {"eos_token": "<|endoftext|>"}),
    ("prompt and completion", plain, {}),
    ("prompt and completion with bos", plain, {"tokenizer": "tokenizer_bos"}),
    ("prompt and completion, all trained", plain, {"completion_only_loss": False}),
    ("prompt and completion, cut", plain, {"max_length": 6}),
    ("prompt and completion, cut at the start", plain, {"max_length": 6, "truncation_mode": "keep_end"}),
    ("chat pairs", chat_pairs, {}),
    ("chat pairs, all trained", chat_pairs, {"completion_only_loss": False}),
    ("chat pairs, assistant only", chat_pairs, {"assistant_only_loss": True}),
    ("chat pairs, assistant only, prompts too", chat_pairs, {"assistant_only_loss": True, "completion_only_loss": False}),
    ("chat pairs, no thinking", [{**row, "chat_template_kwargs": {"enable_thinking": False}} for row in chat_pairs], {}),
    ("messages", chats, {}),
    ("messages, assistant only", chats, {"assistant_only_loss": True}),
    ("messages, assistant only, cut", chats, {"assistant_only_loss": True, "max_length": 30}),
    ("messages, assistant only, all masked by the cut", chats, {"assistant_only_loss": True, "max_length": 20}),
    ("messages with bos", chats, {"tokenizer": "tokenizer_bos"}),
    ("conversations", [{"conversations": [{"from": "user", "value": "The sky?"}, {"from": "assistant", "value": "Blue."}]}], {}),
    ("tools as text", [{"messages": [user("Weather in Paris?"), call], "tools": json.dumps(tools)}], {}),
    ("tools", [{"messages": [user("Weather in Paris?"), call], "tools": tools}], {"assistant_only_loss": True}),
    ("ids", [{"input_ids": [5, 6, 7, 8]}, {"input_ids": [9, 10]}], {"max_length": 3}),
    ("ids and labels", [{"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]}], {"max_length": 3}),
    ("ids and labels, all masked by the cut",
     [{"input_ids": [5, 6, 7, 8], "labels": [-100, -100, -100, 8]}, {"input_ids": [1], "labels": [1]}], {"max_length": 3}),
    ("ids and completion mask", [{"input_ids": [5, 6, 7, 8], "completion_mask": [0, 0, 1, 1]}], {}),
    ("ids and completion mask, applied",
     [{"input_ids": [5, 6, 7, 8], "completion_mask": [0, 0, 1, 1]}], {"completion_only_loss": True}),
    ("ids and assistant masks", [{"input_ids": [5, 6, 7, 8], "assistant_masks": [0, 1, 1, 0]}], {}),
    ("no limit", plain, {"max_length": None}),
    ("packed bfd", plain, {"packing": True, "max_length": 16}),
    ("packed bfd_split", plain, {"packing": True, "packing_strategy": "bfd_split", "max_length": 12}),
    ("packed wrapped", plain, {"packing": True, "packing_strategy": "wrapped", "max_length": 12}),
    ("packed wrapped, shuffled", plain, {
        "packing": True, "packing_strategy": "wrapped", "max_length": 12, "shuffle_dataset": True, "seed": 3407}),
    ("shuffled", plain, {"shuffle_dataset": True, "seed": 7}),
]

cases = []
for name, rows, options in CASES:
    settings = dict(options)
    tokenizer = AutoTokenizer.from_pretrained(here / settings.pop("tokenizer", "tokenizer"))
    args = SFTConfig(output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to="none", **settings)
    trainer = SFTTrainer(model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    data = trainer.train_dataset
    batch = trainer.data_collator([{k: row[k] for k in ("input_ids", "labels", "seq_lengths") if k in row} for row in data])
    labels = batch["labels"]
    cases.append({
        "name": name, "options": options, "rows": rows,
        "input_ids": [list(row["input_ids"]) for row in data], "labels": [list(row["labels"]) for row in data],
        "seq_lengths": [list(row["seq_lengths"]) for row in data] if "seq_lengths" in data.column_names else None,
        # What the trainer counts as predicted, which divides the loss.
        "num_items": int((labels[..., 1:] != -100).sum()),
    })

path = here / "forms.json"
path.write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")
print(path, path.stat().st_size)
