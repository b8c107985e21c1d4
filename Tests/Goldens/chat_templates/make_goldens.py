"""Renders chat templates with transformers itself and writes what comes out.

    python make_goldens.py TEMPLATES CONVERSATIONS.json GOLDENS.json

TEMPLATES is a folder of .jinja files (also a file). Each is rendered for each conversation by
transformers.utils.chat_template_utils.render_jinja_template, as `apply_chat_template` does it. A result is the text
with the spans of its {% generation %} blocks (in bytes of UTF-8), or the error. Needs transformers 5.23.0 and
jinja2 3.1.6; the date that strftime_now gives is pinned.

The goldens of the tests:

    python make_goldens.py templates conversations.json goldens.json
    python make_goldens.py snippets.json snippet_goldens.json

The second form renders single expressions and tags, all with the same variables.
"""

import datetime
import json
import pathlib
import sys
import traceback

import transformers.utils.chat_template_utils as reference

NOW = datetime.datetime(2024, 7, 26, 9, 5, 3)


class PinnedDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


reference.datetime = PinnedDatetime


def template_line(error):
    """The line of the template that an error names, if it names one."""
    if getattr(error, "lineno", None):
        return error.lineno
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in ("<template>", "<unknown>")]
    return frames[-1].lineno if frames else None


def rendered(template, conversation):
    arguments = {
        "conversations": [conversation["messages"]],
        "tools": conversation.get("tools"),
        "chat_template": template,
        "add_generation_prompt": conversation.get("add_generation_prompt", False),
        **conversation.get("variables", {}),
    }
    try:
        texts, spans = reference.render_jinja_template(return_assistant_tokens_mask=True, **arguments)
        text = texts[0]
        result = {"text": text}
        spans = [[len(text[:a].encode()), len(text[:b].encode())] for a, b in spans[0]]
        if spans:
            result["spans"] = spans
        text.encode()
        return result
    except Exception as error:  # whatever it is, the other side has to fail too
        return {"error": f"{type(error).__name__}: {error}", "line": template_line(error)}


def render_snippets(source, output):
    snippets = json.loads(source.read_text())
    goldens = [rendered(snippet, snippets) for snippet in snippets["snippets"]]
    output.write_text(json.dumps(goldens, ensure_ascii=False, indent=0) + "\n")
    print(f"{len(goldens)} snippets, {sum('error' in golden for golden in goldens)} of them errors")


def main():
    if len(sys.argv) == 3:
        return render_snippets(*map(pathlib.Path, sys.argv[1:]))
    folder, conversations, output = map(pathlib.Path, sys.argv[1:4])
    conversations = json.loads(conversations.read_text())
    files = sorted(folder.glob("*.jinja")) if folder.is_dir() else [folder]
    goldens = {}
    for file in files:
        template = file.read_bytes().decode()
        goldens[file.name] = {c["name"]: rendered(template, c) for c in conversations}
    output.write_text(json.dumps(goldens, ensure_ascii=False, indent=0) + "\n")
    failed = sum("error" in r for results in goldens.values() for r in results.values())
    total = sum(map(len, goldens.values()))
    print(f"{len(goldens)} templates, {total} renderings, {failed} of them errors")


if __name__ == "__main__":
    main()
