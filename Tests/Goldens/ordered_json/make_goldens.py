"""Writes how Python's json and repr write numbers, texts and layouts: python make_goldens.py > goldens.json

Any Python from 3.9 on gives the same.
"""

import json
import random
import struct

random.seed(7)
numbers = [0.0, -0.0, 1.0, -1.0, 0.1, 0.2 + 0.1, 1e15, 1e16, 123456789012345680.0, 9007199254740993.0, 1e17, 1.5e16,
           9999999999999998.0, 1.8014398509481984e16, 2.0**53, 2.0**54, 2.0**63, 1e21, 1e22, 1.2345e22, 1e100, 1.7976931348623157e308,
           1e-4, 9.999e-5, 1e-5, 1.5e-5, 1.2345e-7, 1e-10, 1e-100, 2.2250738585072014e-308, 5e-324, 3.14159, 2.5e-5,
           0.0001234, 1e5, 123456.789, 1e-7, 100.0, 1234567890123456.7, 0.00001234]
while len(numbers) < 200:
    value = struct.unpack("<d", random.randbytes(8))[0]
    if value == value and abs(value) != float("inf"):
        numbers.append(value)
numbers += [random.uniform(-1, 1) * 10 ** random.randint(-8, 20) for _ in range(100)]
values = [
    {}, [], {"b": [1, 2.0, None, True], "a": {"x": [], "y": {}, "z": [[]]}}, "é中😀\x7f\x00\x1f\"\\/\b\f\n\r\t\u2028",
    {"é": 1, "z": 2, "😀": 3, "\uffff": 4, "Z": 5}, [[1, [2, [3]]], {"k": {"k": {"k": 0}}}], "", {"": ""},
]
layouts = [{}, {"ensure_ascii": True}, {"indent": 2}, {"separators": (",", ":")}, {"sort_keys": True}]
print(json.dumps({
    "numbers": [{"bits": str(struct.unpack("<Q", struct.pack("<d", n))[0]), "text": repr(n)} for n in numbers],
    "values": values,
    "texts": [[json.dumps(v, **{"ensure_ascii": False, **layout}) for layout in layouts] for v in values],
}, ensure_ascii=True))
