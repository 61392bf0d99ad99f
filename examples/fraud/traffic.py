"""Send a day's first payments to the service, and say what came of them.

    python traffic.py http://127.0.0.1:8000 2026-11-24
"""

import json
import sys
import urllib.request

import data

url, day = sys.argv[1:]
count = {(fraud, decision): 0 for fraud in (0, 1) for decision in ("block", "pass")}
for payment in data.payments(day, 150, live=True):
    fraud = payment.pop("fraud")
    request = urllib.request.Request(url + "/score", json.dumps(payment).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        count[fraud, json.load(answer)["decision"]] += 1
frauds = count[1, "block"] + count[1, "pass"]
print(f"{frauds} frauds: {count[1, 'block']} blocked, {count[1, 'pass']} missed; {count[0, 'block']} honest payments blocked")
