"""Train the two versions of the breast cancer example model.

Run it with the packages of requirements.txt:

    python train.py              # rewrites the files next to this script
    python train.py --out DIR    # writes the same files to another folder

Version 1 uses the ten "mean" measurements of the data set, version 2 all
thirty. Both are logistic regressions on standardised features. The scaler is
folded into the coefficients afterwards, so the written models take raw
measurements. The data ships inside scikit-learn; nothing is downloaded.

The output depends only on this script and the package versions: no clock, no
unseeded randomness, no host detail enters any file.
"""

import os

# One thread keeps the order of floating point sums, and so the files, stable.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import hashlib
import json
import math
import platform
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import sklearn
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 7
TEST_SIZE = 0.25
C = 1.0
MAX_ITER = 1000
SOLVER = "newton-cholesky"
TOL = 1e-10
THRESHOLD = 0.5

# The model answers "how likely is malignant?": index 1 is the positive class.
CLASSES = ["benign", "malignant"]

DATA_URI = "sklearn:load_breast_cancer"
VERSIONS = {"v1": 10, "v2": 30}  # version -> number of leading features used


def canonical_csv(names, rows, labels):
    """Return the bytes whose SHA-256 identifies a data split.

    One header line, then one line per row in data set order: every feature as
    its shortest exact decimal, then the label. Comma separated, LF endings.
    """
    lines = [",".join([*names, "label"])]
    for row, label in zip(rows, labels):
        lines.append(",".join([*(repr(float(v)) for v in row), CLASSES[label]]))
    return ("\n".join(lines) + "\n").encode("utf-8")


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def significant(value):
    """Round to 12 significant digits, hiding last-bit differences of CPUs."""
    return float(f"{value:.12g}")


def fit(names, x, y):
    """Fit scaler and regression on raw rows x, and fold one into the other."""
    pipeline = make_pipeline(
        StandardScaler(),
        LogisticRegression(
            C=C, solver=SOLVER, max_iter=MAX_ITER, tol=TOL, random_state=SEED
        ),
    ).fit(x, y)
    scaler, regression = pipeline[0], pipeline[1]
    # w.(x - m)/s + b  ==  (w/s).x + (b - sum(w*m/s))
    coefficients = regression.coef_[0] / scaler.scale_
    intercept = regression.intercept_[0] - float(np.sum(coefficients * scaler.mean_))
    model = {
        "features": list(names),
        "coefficients": [significant(v) for v in coefficients],
        "intercept": significant(intercept),
        "classes": CLASSES,
        "threshold": THRESHOLD,
    }
    return pipeline, model


def predict(model, row):
    """Score one raw row exactly as model.go does."""
    z = model["intercept"]
    for coefficient, value in zip(model["coefficients"], row):
        z += coefficient * float(value)
    return 1.0 / (1.0 + math.exp(-z))


def to_onnx(model):
    """Build the same model as a float32 ONNX graph.

    Input  features     float32 [batch, number of features], in model order
    Output probability  float32 [batch, 1], probability of CLASSES[1]
    Output label        int64   [batch, 1], index into CLASSES
    """
    weights = np.array(model["coefficients"], dtype=np.float32).reshape(-1, 1)
    bias = np.array([model["intercept"]], dtype=np.float32)
    threshold = np.array([model["threshold"]], dtype=np.float32)
    graph = helper.make_graph(
        nodes=[
            helper.make_node("Gemm", ["features", "weights", "bias"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["probability"]),
            helper.make_node("GreaterOrEqual", ["probability", "threshold"], ["above"]),
            helper.make_node("Cast", ["above"], ["label"], to=TensorProto.INT64),
        ],
        name="breastcancer",
        inputs=[
            helper.make_tensor_value_info(
                "features", TensorProto.FLOAT, ["batch", len(weights)]
            )
        ],
        outputs=[
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch", 1]),
        ],
        initializer=[
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(threshold, "threshold"),
        ],
    )
    proto = helper.make_model(
        graph,
        producer_name="pedigree-example",
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )
    helper.set_model_props(
        proto,
        {
            "features": ",".join(model["features"]),
            "classes": ",".join(model["classes"]),
        },
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)


def verify(pipeline, model, onnx_bytes, x):
    """Stop unless pipeline, exported model and ONNX graph agree on rows x."""
    x_used = x[:, : len(model["features"])]
    ours = np.array([predict(model, row) for row in x_used])
    gap = np.max(np.abs(ours - pipeline.predict_proba(x_used)[:, 1]))
    if gap > 1e-9:
        raise SystemExit(f"exported model differs from scikit-learn by {gap:g}")
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    probability, label = session.run(
        ["probability", "label"], {"features": x_used.astype(np.float32)}
    )
    onnx_gap = np.max(np.abs(ours - probability[:, 0]))
    if onnx_gap > 1e-5:
        raise SystemExit(f"ONNX graph differs from exported model by {onnx_gap:g}")
    if not np.array_equal(label[:, 0], (ours >= model["threshold"]).astype(np.int64)):
        raise SystemExit("ONNX graph and exported model disagree on a label")
    return gap, onnx_gap


def evaluate(model, x, y):
    """Measure the exported model, not the pipeline, on the held-out rows."""
    p = np.array([predict(model, row) for row in x])
    guess = (p >= model["threshold"]).astype(int)
    metrics = {
        "auc": round(float(roc_auc_score(y, p)), 6),
        "accuracy": round(float(accuracy_score(y, guess)), 6),
        "log_loss": round(float(log_loss(y, p)), 6),
    }
    tn, fp, fn, tp = (int(v) for v in confusion_matrix(y, guess).ravel())
    return metrics, {"tn": tn, "fp": fp, "fn": fn, "tp": tp}


def record_yaml(model, metrics, digests):
    """Write the facts about one version that live beside its files."""
    params = {
        "C": C,
        "max_iter": MAX_ITER,
        "features": len(model["features"]),
        "seed": SEED,
        "test_size": TEST_SIZE,
        "solver": SOLVER,
        "tol": TOL,
    }
    lines = ["metrics:"]
    for name, value in metrics.items():
        lines.append(f"  - {{name: {name}, value: {value}, dataset: test, split: test}}")
    inner = ", ".join(f'{key}: "{value}"' for key, value in params.items())
    lines.append(f"params: {{{inner}}}")
    lines.append("data:")
    for role, digest in digests.items():
        lines.append(
            f'  - {{role: {role}, kind: snapshot, uri: "{DATA_URI}", '
            f'version: "scikit-learn {sklearn.__version__}", '
            f'digest: "{digest}", personal: false}}'
        )
    packages = ", ".join(f'"{m.__name__}=={m.__version__}"' for m in (np, onnx, onnxruntime))
    python = ".".join(platform.python_version_tuple()[:2])
    lines.append(
        f'runtime: {{environment: {{manager: pip, python: "{python}", '
        f'packages: [{packages}, "scikit-learn=={sklearn.__version__}"]}}}}'
    )
    return "\n".join(lines) + "\n"


def model_card(version, model, metrics, counts, n_train, n_test):
    """Write the short model card that travels inside the model folder."""
    n = len(model["features"])
    used = {
        "v1": 'the ten "mean" measurements of a cell sample',
        "v2": 'all thirty measurements of a cell sample\n("mean", "error" and "worst" of ten)',
    }[version]
    return f"""# Breast cancer example model, {version}

A logistic regression that estimates the probability that a breast mass is
malignant from {used}.

**This is a demonstration model. It is not a medical device: do not use it for
a diagnosis or for any decision about a person.**

## Files

- `model.json`: feature names, coefficients, intercept, classes, threshold.
- `model.onnx`: the same model as an ONNX graph (opset 17, float32). Input
  `features` of shape [batch, {n}], in the order of `features` in `model.json`;
  outputs `probability` and `label` (0 benign, 1 malignant), each [batch, 1].

Both take raw measurements. The standardisation used during training is already
part of the coefficients.

## Training

- Data: Breast Cancer Wisconsin (Diagnostic), {n_train + n_test} rows, as shipped with
  scikit-learn {sklearn.__version__} (`load_breast_cancer`). Created by W. Wolberg,
  O. Mangasarian, N. Street and W. Street; UCI Machine Learning Repository,
  https://doi.org/10.24432/C5DW2B, licensed CC BY 4.0.
- Split: {n_train} training rows and {n_test} held-out rows, stratified by class,
  seed {SEED}. Scaler and regression saw only the training rows.
- Settings: L2 penalty, C={C}, solver {SOLVER}, tolerance {TOL}.
  Nothing was tuned on the held-out rows.

## Metrics on the {n_test} held-out rows

| metric | value |
|---|---|
| AUC | {metrics["auc"]} |
| accuracy | {metrics["accuracy"]} |
| log loss | {metrics["log_loss"]} |

At threshold {model["threshold"]}: {counts["tp"]} malignant found, {counts["fn"]} malignant missed, {counts["tn"]} benign
cleared, {counts["fp"]} benign flagged.

## Limits

- One small data set, published in 1995. How well the model carries over to
  other patients, devices or laboratories is unknown.
- {n_test} held-out rows give coarse numbers: one row is {100 / n_test:.1f} points of accuracy.
- The threshold weighs a missed cancer the same as a false alarm.
- The features are strongly correlated, so a single coefficient explains little.
"""


def pick_samples(models, names, x, y, rows):
    """Choose eight held-out rows: up to two on which the versions disagree,
    then the first of each class in turn. They illustrate, they do not measure."""
    order = np.argsort(rows)
    k = {v: len(m["features"]) for v, m in models.items()}

    def expected(i):
        return {v: predict(m, x[i][: k[v]]) for v, m in models.items()}

    def labels(i):
        return {p >= models[v]["threshold"] for v, p in expected(i).items()}

    chosen = [i for i in order if len(labels(i)) > 1][:2]
    rest = {c: [i for i in order if y[i] == c and i not in chosen] for c in (0, 1)}
    while len(chosen) < 8:
        seen = [int(y[i]) for i in chosen]
        chosen.append(rest[0 if seen.count(0) < seen.count(1) else 1].pop(0))
    return [
        {
            "row": int(rows[i]),
            "label": CLASSES[y[i]],
            "features": {name: float(v) for name, v in zip(names, x[i])},
            "expected": expected(i),
        }
        for i in sorted(chosen, key=lambda i: rows[i])
    ]


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))


def as_json(value):
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Train the breast cancer example.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    out = parser.parse_args().out

    data = load_breast_cancer()
    names = [str(n) for n in data.feature_names]
    # scikit-learn codes malignant as 0; here the positive class is malignant.
    y = np.where(data.target == 0, 1, 0)
    train, test = train_test_split(
        np.arange(len(y)), test_size=TEST_SIZE, random_state=SEED, stratify=y
    )
    train, test = np.sort(train), np.sort(test)
    digests = {
        role: sha256(canonical_csv(names, data.data[rows], y[rows]))
        for role, rows in (("train", train), ("test", test))
    }

    models = {}
    for version, n in VERSIONS.items():
        pipeline, model = fit(names[:n], data.data[train, :n], y[train])
        onnx_bytes = to_onnx(model)
        gap, onnx_gap = verify(pipeline, model, onnx_bytes, data.data)
        metrics, counts = evaluate(model, data.data[test, :n], y[test])
        card = model_card(version, model, metrics, counts, len(train), len(test))
        write(out / version / "model.json", as_json(model))
        write(out / version / "model.onnx", onnx_bytes)
        write(out / version / "README.md", card)
        write(out / f"{version}.record.yaml", record_yaml(model, metrics, digests))
        models[version] = model
        print(f"{version}: {metrics} {counts} gap {gap:.1e} onnx gap {onnx_gap:.1e}")

    samples = pick_samples(models, names, data.data[test], y[test], test)
    write(out / "samples.json", as_json(samples))


if __name__ == "__main__":
    main()
