"""Prompt and greedy decoding with transformers in float32: transformers_decode.py FOLDER [--decode 64] [--threads 2]"""

import argparse
import json
import time

import torch
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--prompt", type=int, default=256)
parser.add_argument("--decode", type=int, default=64)
parser.add_argument("--threads", type=int, default=2)
call = parser.parse_args()
torch.set_num_threads(call.threads)
model = AutoModelForCausalLM.from_pretrained(call.model, dtype=torch.float32).eval()


def seconds(prompt, new):
    ids = torch.randint(100, model.config.vocab_size, (1, prompt))
    start = time.perf_counter()
    with torch.no_grad():
        model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False,
            pad_token_id=0)
    return time.perf_counter() - start


seconds(8, 2)
print(json.dumps({
    "prompt_tokens_per_s": round(call.prompt / seconds(call.prompt, 1), 1),
    "decode_tokens_per_s": round(call.decode / seconds(8, call.decode), 1),
}))
