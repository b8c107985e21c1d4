"""Tokens per second of `swiftlet serve`, all clients together, as one JSON object.

serve.py MODEL [--clients 1,4,8] [--tokens 64] [--rounds 3] [--swiftlet .build/release/swiftlet]

Every client asks for a text of at most --tokens tokens, again and again; the first round is not counted.
"""

import argparse
import http.client
import json
import re
import subprocess
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--clients", default="1,4,8")
parser.add_argument("--tokens", type=int, default=64)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--swiftlet", default=".build/release/swiftlet")
call = parser.parse_args()


def ask(port, number):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = {"model": "m", "prompt": f"Chapter {number}. It was a dark and stormy night, and", "max_tokens": call.tokens,
            "temperature": 0}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    return answer["usage"]["completion_tokens"]


server = subprocess.Popen(
    [call.swiftlet, "serve", "--model", call.model, "--name", "m", "--port", "0"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
try:
    port = None
    for line in server.stderr:
        found = re.search(r"http://[^:]+:(\d+)", line)
        if found:
            port = int(found.group(1))
            break
    threading.Thread(target=server.stderr.read, daemon=True).start()
    figures = {}
    for clients in map(int, call.clients.split(",")):
        total, seconds = 0, 0.0
        for turn in range(call.rounds + 1):
            counts = [0] * clients

            def run(index):
                counts[index] = ask(port, index)

            threads = [threading.Thread(target=run, args=(index,)) for index in range(clients)]
            start = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if turn > 0:
                total += sum(counts)
                seconds += time.monotonic() - start
        figures[f"{clients} clients"] = round(total / seconds, 1)
    print(json.dumps(figures))
finally:
    server.terminate()
    server.wait()
