"""The nightly job: scores a day's payments again, for the people who look into them.

    pedigree exec --target prod/fraud-nightly --output scores=scores.jsonl -- python batch.py 2026-11-24 scores.jsonl

Exec tells it by its environment what it runs: PEDIGREE_PATH is the folder of the version's
files, the others go into each line. It writes the same form as the service logs.
"""

import json
import os
import sys
from datetime import datetime, timezone

import data
from score import Model

day, path = sys.argv[1:]
payments = data.payments(day, 500, live=True)
for payment in payments:
    del payment["fraud"]
where = {
    "deployment": os.environ["PEDIGREE_DEPLOYMENT"], "target": os.environ["PEDIGREE_TARGET"],
    "model": os.environ["PEDIGREE_MODEL"], "version": int(os.environ["PEDIGREE_VERSION"]), "digest": os.environ["PEDIGREE_DIGEST"],
}
with open(path, "w") as out:
    for number, (payment, score) in enumerate(zip(payments, Model(os.environ["PEDIGREE_PATH"]).scores(payments))):
        out.write(json.dumps({
            "schema": "pedigree.prediction/v1", "id": f"{day}-{number}", "time": datetime.now(timezone.utc).isoformat(), **where,
            "request": payment, "prediction": {"score": score},
        }) + "\n")
print(f"scored {len(payments)} payments of {day} with {where['model']}/{where['version']}")
