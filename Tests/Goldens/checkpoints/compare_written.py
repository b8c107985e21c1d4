"""Reads files that our writers made with the packages that define the formats, and compares every tensor.

    CHECKPOINTS_OUTPUT=/tmp/written swift test --filter filesForTheReferenceReaders
    python compare_written.py /tmp/written
"""
import json
import pathlib
import sys

import gguf
import numpy as np
from safetensors import safe_open

HERE = pathlib.Path(__file__).parent
WRITTEN = pathlib.Path(sys.argv[1])


def same_safetensors():
    with safe_open(HERE / "types.safetensors", "pt") as expected, safe_open(WRITTEN / "types.safetensors", "pt") as made:
        assert sorted(expected.keys()) == sorted(made.keys())
        assert expected.metadata() == made.metadata()
        for name in expected.keys():
            a, b = expected.get_tensor(name), made.get_tensor(name)
            assert a.dtype == b.dtype and a.shape == b.shape and a.equal(b), name
        return len(expected.keys())


def same_shards():
    index = json.loads((WRITTEN / "sharded/model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert files == [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)], files
    size = 0
    for name, file in index["weight_map"].items():
        with safe_open(WRITTEN / "sharded" / file, "pt") as shard, safe_open(HERE / "types.safetensors", "pt") as all:
            assert shard.get_tensor(name).equal(all.get_tensor(name)), name
            size += shard.get_tensor(name).nbytes
    assert size == index["metadata"]["total_size"]
    return len(files)


def same_gguf():
    expected, made = gguf.GGUFReader(HERE / "types.gguf"), gguf.GGUFReader(WRITTEN / "types.gguf")
    assert list(expected.fields) == list(made.fields)
    for key in expected.fields:
        if key != "test.nested":
            assert expected.get_field(key).contents() == made.get_field(key).contents(), key
    assert [t.name for t in expected.tensors] == [t.name for t in made.tensors]
    for a, b in zip(expected.tensors, made.tensors):
        assert a.tensor_type == b.tensor_type and a.shape.tolist() == b.shape.tolist(), a.name
        assert np.array_equal(a.data.view(np.uint8), b.data.view(np.uint8)), a.name
    return len(made.tensors)


print(f"{same_safetensors()} tensors, {same_shards()} shards and {same_gguf()} GGUF tensors read back as written")
