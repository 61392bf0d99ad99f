"""Score one row, given as JSON on standard input, with the MLflow model of this folder.

The prediction of that row goes to standard output as JSON, and nothing else does: what
libraries print goes to standard error.
"""

import base64
import datetime
import json
import math
import os
import sys

answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
row = json.load(sys.stdin)

try:
    import mlflow.pyfunc
    import numpy as np
    import pandas as pd
    from mlflow.utils.proto_json_utils import dataframe_from_parsed_json
except ModuleNotFoundError as missing:
    print(missing, file=sys.stderr)
    sys.exit(86)


def number(value):
    """A logged string that stands for what JSON has no number for."""
    return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value, value) if isinstance(value, str) else value


def numeric(spec):
    return getattr(spec.type, "name", "") in ("float", "double", "integer", "long")


def first(value):
    """What a prediction says of the one row."""
    if isinstance(value, pd.DataFrame):
        return value.to_dict(orient="records")[0]
    if isinstance(value, pd.Series):
        return value.iloc[0]
    if isinstance(value, dict):
        return {name: first(part) for name, part in value.items()}
    if isinstance(value, (np.ndarray, list, tuple)) and np.ndim(value) > 0:
        return value[0]
    return value


def plain(value):
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


model = mlflow.pyfunc.load_model(os.getcwd())
schema = model.metadata.get_input_schema()
if schema is not None and schema.is_tensor_spec():
    if schema.has_input_names():
        data = {spec.name: np.array([row[spec.name]], dtype=spec.type) for spec in schema.inputs if spec.name in row}
    elif set(row) == {"inputs"}:
        data = np.array([row["inputs"]], dtype=schema.inputs[0].type)
    else:
        sys.exit('the model takes a tensor without a name: its requests are logged as {"inputs": […]}')
else:
    if schema is not None and schema.has_input_names():
        numbers = {spec.name for spec in schema.inputs if numeric(spec)}
        row = {name: number(value) if name in numbers else value for name, value in row.items()}
    elif schema is None:
        row = {name: number(value) for name, value in row.items()}
    data = dataframe_from_parsed_json([row], pandas_orient="records", schema=schema)

json.dump(plain(first(model.predict(data))), answer, allow_nan=False)
answer.flush()
