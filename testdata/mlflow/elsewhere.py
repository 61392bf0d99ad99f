"""A client whose runs are on one server and whose registry is on another: it trains,
registers in the ways that there are, and loads. What it got is printed as one line of
JSON; the names of the models say how each was registered."""

import json
import os
import sys
import tempfile
import warnings

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import infer_signature

warnings.filterwarnings("ignore")
mlflow.set_registry_uri(os.environ["REGISTRY"])
THREE = int(mlflow.__version__.split(".")[0]) >= 3
X = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0]})


class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input.sum(axis=1)


mlflow.set_experiment("elsewhere")
with mlflow.start_run(run_name="first") as run:
    mlflow.log_param("depth", 6)
    mlflow.log_metric("auc", 0.9)
    mlflow.set_tag("pedigree.target", "prod/fraud-api")
    mlflow.log_input(mlflow.data.from_pandas(X, name="toy", source="s3://lake/toy.parquet"), context="training")
    where = {"name": "m"} if THREE else {"artifact_path": "m"}
    mlflow.pyfunc.log_model(python_model=Sum(), registered_model_name="logged", signature=infer_signature(X, X.sum(axis=1)), pip_requirements=["mlflow"], **where)
    with tempfile.TemporaryDirectory() as d:
        open(os.path.join(d, "ü note.csv"), "w").write("a,b\n1,2\n")
        mlflow.log_artifacts(d, "extra")
    first = run.info.run_id

c = MlflowClient()
mlflow.register_model(f"runs:/{first}/m", "by-run")
for name, source in [("extra", f"runs:/{first}/extra"), ("bucket", "s3://models/x")]:
    c.create_registered_model(name)
    c.create_model_version(name, source, run_id=first)
out = {"run": first, "version": mlflow.__version__, "predict": {}, "tags": {}}
for name in ["logged", "by-run", "extra", "bucket"]:
    v = c.get_model_version(name, "1")
    out["tags"][name] = v.tags
    c.set_registered_model_alias(name, "champion", "1")
for name in ["logged", "by-run"]:
    try:
        out["predict"][name] = mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(X).tolist()
    except Exception as e:
        out["predict"][name] = f"{type(e).__name__}: {e}"
print(json.dumps(out), file=sys.stdout, flush=True)
