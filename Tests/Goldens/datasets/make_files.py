"""Writes files.json and rows.parquet: what datasets.load_dataset reads from small files.

Run with the Python packages that Tests/Goldens/README.md pins:
    python make_files.py
"""

import json
import os
import pathlib
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import pyarrow
import pyarrow.parquet
from datasets import disable_progress_bars, load_dataset

disable_progress_bars()
FILES = {
    "plain.csv": "a,b,c\n1,x,2.5\n2,y,3\n",
    "crlf.csv": "a,b\r\n1,\"x\r\ny\"\r\n2,z\r\n",
    "cr.csv": "a,b\r1,x\r2,y\r",
    "quotes.csv": 'a,b\n"he said ""hi""",5" disk\nmid"quote,"open"tail\n',
    "blank.csv": "a,b\n\n1,x\n   \n2,y\n\n",
    "gaps.csv": "a,b,c\n1,,True\n,text,\n3,more,False\n",
    "numbers.csv": "a,b,c,d,e\n007,+5,1e5,inf, 1\n-3,2,.5,-inf,2\n",
    "text_or_number.csv": "a,b,c\n1,1.2.3,0x10\nx,2,3\n",
    "booleans.csv": "a,b\nTrue,true\nFALSE,false\n",
    "short.csv": "a,b,c\n1,2\n3\n",
    "repeated.csv": "a,a,,a\n1,2,3,4\n",
    "bom.csv": "\ufeffa,b\n佢,🙂\n",
    "unended.csv": "a,b\n1,x\n2,y",
    "one.csv": "text\nhello\n\"a, b\"\n",
    "lines.jsonl": '{"a": 1, "b": "x"}\n{"a": 2, "b": "佢🙂"}\n',
    "array.json": '[{"a": 1, "b": ["x", "y"]}, {"a": 2, "b": []}]',
    "strings.json": '["one", "two"]',
    "text.txt": "one\n\n three \r\nfour\rfive\n",
}
cases = []
for name, text in FILES.items():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, name)
        path.write_bytes(text.encode())
        kind = {"csv": "csv", "txt": "text"}.get(name.split(".")[-1], "json")
        try:
            rows = load_dataset(kind, data_files=str(path), cache_dir=folder, split="train").to_list()
        except Exception as error:
            print("REFUSED", name, str(error.__cause__)[:150])
            continue
    cases.append({"name": name, "text": text, "rows": rows})
path = pathlib.Path(__file__).with_name("files.json")
path.write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")
print(path, path.stat().st_size)

table = pyarrow.Table.from_pylist([
    {"n": 1, "messages": [{"role": "user", "content": "佢🙂"}, {"role": "assistant", "content": "it's"}], "x": None},
    {"n": 2, "messages": [{"role": "user", "content": "two\nlines"}], "x": 0.5},
])
pyarrow.parquet.write_table(table, pathlib.Path(__file__).with_name("rows.parquet"), compression="zstd")
