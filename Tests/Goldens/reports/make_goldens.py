"""An event file by TensorBoard's own writer (pip install tensorboard==2.21.0): python make_goldens.py

`events.tfevents` holds the events that `events.json` lists, and bytes of the checksum that frames them.
"""

import json
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter, masked_crc32c

FOLDER = Path(__file__).resolve().parent
EVENTS = [
    {"wall_time": 1795266455.25, "step": 0, "file_version": "brain.Event:2"},
    {"wall_time": 1795266455.5, "step": 301, "session": "start"},
    {
        "wall_time": 1795266456.125,
        "step": 301,
        "scalars": [["train/loss", 2.4375], ["train/learning_rate", 2e-05], ["train/grad_norm", 0.0]],
    },
    {"wall_time": 1795266457.0, "step": 70000, "scalars": [["eval/loss", 1e-30], ["eval/runtime", -3.5]]},
    {"wall_time": 1.0, "step": 1, "scalars": [["train/" + 30 * "long_" + "name", float("inf")]]},
]


def message(event):
    result = Event(wall_time=event["wall_time"], step=event["step"])
    if "file_version" in event:
        result.file_version = event["file_version"]
    if "session" in event:
        result.session_log.CopyFrom(SessionLog(status=SessionLog.START))
    for tag, value in event.get("scalars", []):
        result.summary.value.add().CopyFrom(Summary.Value(tag=tag, simple_value=value))
    return result.SerializeToString()


with open(FOLDER / "events.tfevents", "wb") as file:
    writer = RecordWriter(file)
    for event in EVENTS:
        writer.write(message(event))
    writer.flush()
texts = ["", "a", "123456789", "唔該晒 🙂"]
(FOLDER / "events.json").write_text(
    json.dumps({
        "events": [
            event | {"scalars": [[tag, str(value)] for tag, value in event["scalars"]]} if "scalars" in event else event
            for event in EVENTS
        ],
        "masked_crc32c": {text: masked_crc32c(text.encode()) for text in texts},
    }, ensure_ascii=False, indent=1) + "\n")
