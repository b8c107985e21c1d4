"""A real model: SmolLM2-135M-Instruct with the weights of its Q4_1 GGUF widened to float32.

`smollm2/forward.json` holds token ids, samples of logits, losses and greedy tokens; `smollm2/<run>.json` ten steps of
TRL's SFTTrainer. The weights are not committed: tests that need the GGUF check its SHA-256 and are skipped without it.
"""

import hashlib
import json
import shutil
import zlib

import numpy
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from .training import LINEARS, train, trained_tensors
from .values import rounded, write

GREEDY_TOKENS = 48
SAMPLES = 64
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea, there lived",
    [{"role": "user", "content": "In one sentence: why is the sky blue?"}],
]
TEXTS = [
    "Training a language model means adjusting its weights so that the next token becomes a little less surprising. "
    "In 2024 the model had seen 2 trillion tokens; 135,000,000 parameters had to hold what they taught.",
    "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。 Emoji: 🙂👩‍👩‍👧 — and a tab\there.\n\nThe end",
]
PAIRS = [
    ("The birch canoe slid on the smooth planks.", "On the smooth planks, the birch canoe slid."),
    ("It's easy to tell the depth of a well.", "Easy it is, to tell the depth of a well."),
    ("Rice is often served in round bowls.", "Served in round bowls, rice often is."),
    ("Four hours of steady work faced us.", "Faced us, four hours of steady work did."),
    ("The boy was there when the sun rose.", "There when the sun rose, the boy was."),
    ("The soft cushion broke the man's fall.", "Broke the man's fall, the soft cushion did."),
    ("The girl at the booth sold fifty bonds.", "Fifty bonds, the girl at the booth sold."),
    ("She blinked.", "Blinked, she did. 🙂"),
]
PLAIN_ROWS = [{"prompt": f"Say it as Yoda would: {said}\n", "completion": answer} for said, answer in PAIRS]
MESSAGE_ROWS = [
    {"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]}
    for said, answer in PAIRS
]
CHAT_ROWS = [
    {
        "prompt": [{"role": "system", "content": "You are Yoda."}, {"role": "user", "content": said}],
        "completion": [{"role": "assistant", "content": answer}],
    }
    for said, answer in PAIRS
]
LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": LINEARS}
FORMULA = {
    "value": "float32(((i * 2654435761 mod 2^32) / 2^32 - 0.5) * scale), computed in float64",
    "i": "CRC-32 (IEEE) of the tensor's name + index of the element in row-major order",
    "scale_A": 0.05,
    "scale_B": 0.02,
}
# name -> (rows, with LoRA, what differs from the trainer's settings)
RUNS = {
    "lora_prompt_completion": (PLAIN_ROWS, True, {"learning_rate": 2e-4}),
    "lora_messages": (MESSAGE_ROWS, True, {"learning_rate": 2e-4}),
    "lora_chat_prompt_completion": (CHAT_ROWS, True, {"learning_rate": 2e-4, "warmup_steps": 3}),
    "full_prompt_completion": (PLAIN_ROWS, False, {"learning_rate": 2e-5}),
}


def sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_checkpoint(gguf, tokenizer, checkpoint):
    """The GGUF's weights as an ordinary float32 folder (538 MB), with the tokenizer that belongs to them."""
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    del model.config.quantization_config
    plain = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(checkpoint)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / file, checkpoint / file)


def load(checkpoint):
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()


def load_tokenizer(folder):
    """Reads tokenizer.json as it stands; AutoTokenizer would rebuild parts of it for the class that it names."""
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        chat_template=settings["chat_template"],
        **{key: settings[key] for key in ("bos_token", "eos_token", "pad_token", "unk_token")},
    )


def value_by_formula(name, shape, scale):
    """FORMULA for a whole tensor."""
    index = numpy.arange(int(numpy.prod(shape)), dtype=numpy.uint64) + numpy.uint64(zlib.crc32(name.encode()))
    fraction = (index * numpy.uint64(2654435761) % numpy.uint64(2**32)).astype(numpy.float64) / 2.0**32
    return torch.from_numpy(((fraction - 0.5) * scale).astype(numpy.float32)).reshape(shape)


def with_adapter(model):
    """The initial adapter comes from FORMULA, so that it need not be committed."""
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **LORA))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                scale = FORMULA["scale_A" if ".lora_A." in name else "scale_B"]
                parameter.copy_(value_by_formula(name.replace(".default", ""), parameter.shape, scale))
    return model


def logit_samples(logits):
    """One row of logits: the largest, some at fixed ids, and the norm of all."""
    best = logits.topk(SAMPLES)
    ids = [index * 769 % len(logits) for index in range(SAMPLES)]
    return {
        "l2": rounded(logits.double().norm().item(), 9),
        "top_ids": best.indices.tolist(),
        "top": rounded(best.values),
        "ids": ids,
        "values": rounded(logits[ids]),
    }


def forward(model, tokenizer):
    prompts, texts = [], []
    for prompt in PROMPTS:
        text = prompt
        if not isinstance(prompt, str):
            text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
            output = model.generate(
                input_ids=torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                do_sample=False,
                max_new_tokens=GREEDY_TOKENS,
                eos_token_id=-1,
                pad_token_id=2,
                output_logits=True,
                return_dict_in_generate=True,
            )
        best = torch.cat(output.logits).topk(2).values
        generated = output.sequences[0, len(ids) :].tolist()
        prompts.append({
            "prompt": prompt,
            "text": text,
            "ids": ids,
            "logits": {str(position): logit_samples(logits[position]) for position in (0, len(ids) // 2, len(ids) - 1)},
            "greedy": {
                "ids": generated,
                "text": tokenizer.decode(generated, clean_up_tokenization_spaces=False),
                "margin": rounded((best[:, 0] - best[:, 1]).min().item()),
            },
        })
        print(f"greedy, smallest margin {prompts[-1]['greedy']['margin']}: {prompts[-1]['greedy']['text']!r}")
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
        texts.append({"text": text, "ids": ids, "loss": rounded(loss, 9)})
    return {"prompts": prompts, "texts": texts}


def make(folder, arguments):
    source = {"gguf": arguments.gguf.name, "sha256": sha256(arguments.gguf)}
    tokenizer = load_tokenizer(arguments.tokenizer)
    if not (arguments.checkpoint / "model.safetensors").exists():
        make_checkpoint(arguments.gguf, arguments.tokenizer, arguments.checkpoint)
    names = arguments.names or ["forward", *RUNS]
    if "forward" in names:
        write(folder / "forward.json", source | forward(load(arguments.checkpoint), tokenizer))
    for name in RUNS:
        if name not in names:
            continue
        rows, lora, changes = RUNS[name]
        model = load(arguments.checkpoint)
        if lora:
            model = with_adapter(model)
        steps, tokenized = train(model, rows, tokenizer, changes)
        tensors = trained_tensors(model)
        # 30 layers of the same: the first, the last and what lies outside the layers tell enough.
        kept = {key: tensors[key] for key in tensors if ".layers." not in key or ".0." in key or ".29." in key}
        write(folder / f"{name}.json", source | {
            "lora": LORA if lora else None,
            "initial_adapter": FORMULA if lora else None,
            "settings": {"max_steps": 10, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2} | changes,
            "rows": rows,
            "tokenized": tokenized,
            "steps": steps,
            "trained": kept,
        })
        print(f"{name}: loss {steps[0]['loss']} to {steps[-1]['loss']}")
