"""Card payments that never happened, the same ones each time.

A payment is a row of numbers and whether it turned out to be fraud. The warehouse
knows what the service cannot know yet: a fraud is charged back days later, and the
column chargebacks_30d of the warehouse is filled in then. The service sees the column
as it is at the moment of the payment. Training on it is the mistake of version 2.

Only the standard library's random numbers are used, which are the same in every
version of Python, and every value is rounded.
"""

import csv
import hashlib
import io
import random

COLUMNS = ["amount", "hour", "foreign", "account_age_days", "purchases_24h", "chargebacks_30d"]


def payments(name, count, live=False):
    """Return count rows of the data set with that name; its name is its seed."""
    r = random.Random(name)
    rows = []
    for _ in range(count):
        fraud = r.random() < 0.2
        earlier = 1 if r.random() < 0.02 else 0
        later = 1 if fraud and r.random() < 0.97 else 0
        rows.append({
            "amount": round(r.lognormvariate(4.4 if fraud else 3.6, 0.9), 2),
            "hour": r.choice([0, 1, 2, 3, 4, 22, 23]) if fraud and r.random() < 0.3 else r.randrange(6, 24),
            "foreign": 1 if r.random() < (0.4 if fraud else 0.1) else 0,
            "account_age_days": round(r.expovariate(1 / (350 if fraud else 900))),
            "purchases_24h": max(0, round(r.gauss(4 if fraud else 1.5, 2))),
            "chargebacks_30d": earlier if live else earlier + later,
            "fraud": 1 if fraud else 0,
        })
    return rows


def digest(rows):
    """Return the SHA-256 of the rows as CSV, which names the data set in the record."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[*COLUMNS, "fraud"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return "sha256:" + hashlib.sha256(text.getvalue().encode()).hexdigest()
