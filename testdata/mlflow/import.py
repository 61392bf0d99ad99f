"""A registry as it grows over the years: with MODE=fill it is made on the server that
MLFLOW_TRACKING_URI names, with MODE=read it is read from there, as MLflow's client sees
it, and loaded. Either way what is there is printed as one line of JSON."""

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
THREE = int(mlflow.__version__.split(".")[0]) >= 3
X = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0]})
c = MlflowClient()


class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input.sum(axis=1)


def log(name):
    where = {"name": "m"} if THREE else {"artifact_path": "m"}
    mlflow.pyfunc.log_model(python_model=Sum(), registered_model_name=name, signature=infer_signature(X, X.sum(axis=1)), pip_requirements=["mlflow"], **where)


def fill():
    mlflow.set_experiment("years")
    c.create_registered_model("fraud", tags={"team": "risk", "pedigree.owner": "team:risk"}, description="finds fraud")
    for i in range(3):
        with mlflow.start_run(run_name=f"run {i}") as run:
            mlflow.log_param("depth", i)
            mlflow.log_metric("auc", 0.9 + i / 100)
            mlflow.log_metric("loss", float("nan"))
            mlflow.log_input(mlflow.data.from_pandas(X, name="toy", source="s3://lake/toy.parquet"), context="training")
            log("fraud")
            with tempfile.TemporaryDirectory() as d:
                open(os.path.join(d, "ü note%20.csv"), "w").write("a,b\n1,2\n")
                open(os.path.join(d, "big.bin"), "wb").write(bytes(range(256)) * 8192)
                mlflow.log_artifacts(d, "extra")
    last = run.info.run_id
    c.create_model_version("fraud", "s3://models/fraud", description="elsewhere", tags={"k": "v"})
    c.delete_model_version("fraud", "2")
    c.set_registered_model_alias("fraud", "champion", "1")
    c.set_registered_model_alias("fraud", "canary", "3")
    c.transition_model_version_stage("fraud", "1", "Production")
    c.set_model_version_tag("fraud", "3", "pedigree.target", "prod/fraud-api")
    c.update_model_version("fraud", "3", "the third")
    c.create_registered_model("Übermodell it's")
    uri = f"runs:/{last}/extra"
    c.create_model_version("Übermodell it's", uri, run_id=last)
    c.copy_model_version("models:/fraud/3", "copies")
    c.create_registered_model("empty", description="nothing yet")
    if THREE:
        mlflow.genai.register_prompt(name="greet", template="Hello {{ name }}", commit_message="first")
        mlflow.genai.set_prompt_alias("greet", alias="live", version=1)


def version(v, aliases):
    return {
        "version": int(v.version), "created": v.creation_timestamp, "description": v.description or "", "stage": v.current_stage, "source": v.source,
        "run_id": v.run_id or "", "status": v.status, "tags": {k: x for k, x in v.tags.items() if k not in ("pedigree.complete", "pedigree.warning")},
        "aliases": sorted(a for a, n in aliases.items() if int(n) == int(v.version)),
    }


def read():
    out = {}
    prompts = [m.name for m in c.search_registered_models("tags.`mlflow.prompt.is_prompt` = 'true'")]
    for m in list(c.search_registered_models()) + list(c.search_registered_models("tags.`mlflow.prompt.is_prompt` = 'true'")):
        prompt = m.name in prompts
        if not prompt:  # the client itself says that a prompt is no model
            m = c.get_registered_model(m.name)
        quote = '"' if "'" in m.name else "'"
        versions = sorted(c.search_model_versions(f"name={quote}{m.name}{quote}"), key=lambda v: int(v.version))
        out[m.name] = {"description": m.description or "", "tags": m.tags, "versions": [version(v if prompt else c.get_model_version(m.name, v.version), m.aliases) for v in versions]}
    return out


if os.environ["MODE"] == "fill":
    fill()
answer = {"models": read(), "predict": {}}
for uri in ["models:/fraud@champion", "models:/fraud/3", "models:/copies/1"]:
    answer["predict"][uri] = mlflow.pyfunc.load_model(uri).predict(X).tolist()
with tempfile.TemporaryDirectory() as d:
    path = mlflow.artifacts.download_artifacts("models:/Übermodell it's/1", dst_path=d)
    answer["files"] = {name: os.path.getsize(os.path.join(path, name)) for name in sorted(os.listdir(path)) if name != "registered_model_meta"}
if THREE:
    answer["prompt"] = mlflow.genai.load_prompt("prompts:/greet@live").template
print(json.dumps(answer), file=sys.stdout, flush=True)
