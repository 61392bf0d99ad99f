"""Train the fraud model and write what a version consists of.

    python train.py --out build                        # version 1
    python train.py --out build --with-chargebacks     # version 2: one column more

Writes build/model (the files of the version), build/record.yaml (metrics, parameters,
data) and build/evaluation.json (the evidence).
"""

import argparse
import json
import shutil
from pathlib import Path

import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, recall_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import data

C = 1.0
THRESHOLD = 0.5
WAREHOUSE = "https://warehouse.example.org/payments/"

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--with-chargebacks", action="store_true", help="use the column chargebacks_30d, too")
options = parser.parse_args()

columns = data.COLUMNS if options.with_chargebacks else data.COLUMNS[:-1]
sets = {"train": data.payments("2026-09", 3000), "test": data.payments("2026-10", 1000)}


def split(rows):
    return [[row[c] for c in columns] for row in rows], [row["fraud"] for row in rows]


x, y = split(sets["train"])
model = make_pipeline(StandardScaler(), LogisticRegression(C=C)).fit(x, y)
x, y = split(sets["test"])
scores = model.predict_proba(x)[:, 1]
metrics = {
    "auc": roc_auc_score(y, scores),
    "recall": recall_score(y, scores >= THRESHOLD),
    "log_loss": log_loss(y, scores),
}
metrics = {name: round(float(value), 6) for name, value in metrics.items()}

folder = options.out / "model"
shutil.rmtree(options.out, ignore_errors=True)
folder.mkdir(parents=True)
skops.io.dump(model, folder / "model.skops")
shutil.copy(Path(__file__).with_name("score.py"), folder)


def write(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


write(folder / "scoring.json", {"command": ["python", "score.py"], "timeout": "2m"})
write(folder / "signature.json", {
    "inputs": [{"name": c, "type": "double"} for c in columns],
    "outputs": [{"name": "score", "type": "double"}],
})
write(options.out / "evaluation.json", {"test": data.digest(sets["test"]), "threshold": THRESHOLD, "rows": len(y), "frauds": sum(y), "metrics": metrics})
# JSON is YAML, too.
write(options.out / "record.yaml", {
    "metrics": [{"name": name, "value": value, "dataset": "test", "split": "test"} for name, value in metrics.items()],
    "params": {"C": str(C), "columns": " ".join(columns), "threshold": str(THRESHOLD)},
    "data": [
        {"role": role, "kind": "snapshot", "uri": WAREHOUSE + month, "digest": data.digest(sets[role]), "personal": False}
        for role, month in (("train", "2026-09"), ("test", "2026-10"))
    ],
})
print("trained on", len(columns), "columns:", ", ".join(f"{name} {value}" for name, value in metrics.items()))
