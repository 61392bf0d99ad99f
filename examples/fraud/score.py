"""Score payments with the model of a folder.

This file is part of every version: train.py puts it beside the model, and scoring.json
names it, so that `pedigree replay --run` scores a logged payment as the service did.

    python score.py < payment.json
"""

import json
import sys
from pathlib import Path

import skops.io


class Model:
    """A model of one version, with the columns that it takes."""

    def __init__(self, folder):
        folder = Path(folder)
        self.columns = [c["name"] for c in json.loads((folder / "signature.json").read_text())["inputs"]]
        self.pipeline = skops.io.load(folder / "model.skops")  # holds no code, unlike a pickle

    def scores(self, payments):
        """Return how likely each payment is fraud; columns that the model does not take are left out."""
        rows = [[float(p[c]) for c in self.columns] for p in payments]
        return [float(p) for p in self.pipeline.predict_proba(rows)[:, 1]]


if __name__ == "__main__":
    payment = json.load(sys.stdin)
    print(json.dumps({"score": Model(Path(__file__).parent).scores([payment])[0]}))
