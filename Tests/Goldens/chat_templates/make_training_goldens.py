"""Renders conversations with the training templates of TRL and writes texts and assistant spans.

    python make_training_goldens.py

For each template in `training/` (the originals that TRL 1.16.0 recognizes, copied from its package), TRL's
`get_training_chat_template` chooses the training template. The result for a conversation is the text and the spans of
its {% generation %} blocks, in bytes of UTF-8; null if the training template rejects the conversation. Needs trl 1.16.0
and transformers 5.23.0.
"""

import json
import pathlib

import transformers.utils.chat_template_utils as reference
from transformers import PreTrainedTokenizerFast
from trl.chat_template_utils import get_training_chat_template

HERE = pathlib.Path(__file__).parent
VARIABLES = {"bos_token": "<bos>", "eos_token": "<eos>"}


def user(content):
    return {"role": "user", "content": content}


def system(content):
    return {"role": "system", "content": content}


def assistant(content, **members):
    return {"role": "assistant", "content": content, **members}


def tool(content):
    return {"role": "tool", "content": content}


def call(**arguments):
    return {"type": "function", "function": {"name": "f", "arguments": arguments}}


def parts(text):
    return [{"type": "text", "text": text}]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "description": "Adds <d>",
            "parameters": {"type": "object", "properties": {"k": {"type": "integer", "description": "n"}}},
        },
    }
]
CONVERSATIONS = {
    "two turns": [user("u1"), assistant("a1"), user("u2"), assistant("a2")],
    "system": [system("係"), user("好"), assistant("  一\n"), user("v"), assistant("two")],
    "user last": [user("u1"), assistant("a1"), user("u2")],
    "think tags": [user("u"), assistant("<think>\nr\n</think>\n\nx"), user("v"), assistant("<think>r2</think>y")],
    "half a think tag": [user("u"), assistant("r\n</think>\n\nx"), user("v"), assistant("<think>open")],
    "reasoning": [
        user("u"), assistant("x", reasoning_content="r1"), user("v"), assistant("y", reasoning_content="\nr2\n")
    ],
    "tools": [
        system("s"), user("u"), assistant("c", tool_calls=[call(k=1), call(k=[2])]), tool("1"), tool("2"),
        assistant("x"),
    ],
    "tool without content": [
        user("u"), {"role": "assistant", "tool_calls": [call(k=1)]}, tool("1"), assistant("x", reasoning_content="q"),
        user("again"), assistant("z"),
    ],
    "parts": [user(parts("u1")), assistant(parts("a1")), user([{"type": "image"}] + parts("u2")), assistant(parts("a2"))],
    "late system": [user("u"), assistant("a"), system("s"), user("v"), assistant("b")],
    "empty": [system(""), user(""), assistant("")],
}


def rendered(template, name):
    tools = TOOLS if "tool" in name else None
    try:
        texts, spans = reference.render_jinja_template(
            conversations=[CONVERSATIONS[name]], tools=tools, chat_template=template,
            return_assistant_tokens_mask=True, **VARIABLES,
        )
    except Exception:
        return None
    text = texts[0]
    return {"text": text, "spans": [[len(text[:a].encode()), len(text[:b].encode())] for a, b in spans[0]]}


def main():
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(HERE / "../models/tokenizer/tokenizer.json"))
    results = {}
    for path in sorted((HERE / "training").glob("*.jinja")):
        tokenizer.chat_template = path.read_text(encoding="utf-8")
        template = get_training_chat_template(tokenizer)
        results[path.name] = {name: rendered(template, name) for name in CONVERSATIONS}
    goldens = {
        "conversations": {
            name: {"messages": messages, "tools": TOOLS if "tool" in name else None}
            for name, messages in CONVERSATIONS.items()
        },
        "results": results,
    }
    (HERE / "training_goldens.json").write_text(json.dumps(goldens, ensure_ascii=False, indent=1) + "\n")


main()
