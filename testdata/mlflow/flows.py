"""Whole flows: train, log, register, load, by the fluent API and the client."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings

import mlflow
import numpy as np
import pandas as pd
import requests
from mlflow import MlflowClient
from mlflow.models import infer_signature
from record import raw, show, step
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")
c = MlflowClient()
THREE = int(mlflow.__version__.split(".")[0]) >= 3
X = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
y = np.array([0, 0, 1, 1])
sk = LogisticRegression().fit(X, y)


def log_model(registered=None, name="m", **kw):
    where = {"name": name} if THREE else {"artifact_path": name}
    return mlflow.sklearn.log_model(sk, registered_model_name=registered, signature=infer_signature(X, sk.predict(X)), input_example=X[:2], **where, **kw)


def predict(uri):
    return mlflow.pyfunc.load_model(uri).predict(X).tolist()


def version(v):
    return {k: x for k, x in show(v).items() if k not in ("tags",)}


step("set experiment", lambda: mlflow.set_experiment("training").name)

with mlflow.start_run(run_name="first") as run:
    mlflow.log_params({"C": 1.0, "solver": "lbfgs"})
    mlflow.log_metric("auc", 0.9)
    mlflow.log_metrics({"f1": 0.8, "loss": float("nan")})
    mlflow.set_tag("team", "risk")
    mlflow.set_tag("pedigree.owner", "team:risk")
    mlflow.set_tag("pedigree.target", "prod/fraud-api")
    mlflow.set_tag("pedigree.rollback_note", "keep the features")
    mlflow.set_tag("pedigree.data.train", "s3://lake/fraud/2026-10")
    mlflow.log_input(mlflow.data.from_pandas(X, name="toy"), context="training")
    step("log and register", lambda: log_model("fraud") and "done")
    with tempfile.TemporaryDirectory() as d:
        open(os.path.join(d, "note.txt"), "w").write("hello")
        os.makedirs(os.path.join(d, "sub"))
        open(os.path.join(d, "sub", "ü.csv"), "w").write("a,b\n1,2\n")
        mlflow.log_artifacts(d, "extra")
    first = run.info.run_id

step("registered", lambda: version(c.get_model_version("fraud", "1")))
step("set alias", lambda: c.set_registered_model_alias("fraud", "champion", "1"))
step("load by alias", lambda: predict("models:/fraud@champion"))
step("load by number", lambda: predict("models:/fraud/1"))
step("load latest", lambda: predict("models:/fraud/latest"))
step("load from the run", lambda: predict(f"runs:/{first}/m"))
step("load flavour", lambda: mlflow.sklearn.load_model("models:/fraud@champion").predict(X).tolist())
step("load missing", lambda: predict("models:/fraud/9"))


@contextlib.contextmanager
def serving(uri):
    """The address of a process of "mlflow models serve"."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        p = subprocess.Popen([sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log, start_new_session=True)
        try:
            url, until = f"http://127.0.0.1:{port}", time.time() + 180
            while True:
                try:
                    if requests.get(url + "/ping", timeout=5).ok:
                        break
                except requests.exceptions.ConnectionError:
                    pass
                if p.poll() is not None or time.time() > until:
                    log.seek(0)
                    raise RuntimeError(log.read().decode()[-2000:])
                time.sleep(0.2)
            yield url
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGTERM)
            p.wait()


def serve(uri):
    with serving(uri) as url:
        r = requests.post(url + "/invocations", json={"dataframe_split": X.to_dict(orient="split")}, timeout=60)
        return [r.status_code, r.json()]


step("serve", lambda: serve("models:/fraud@champion"))
step("register model", lambda: version(mlflow.register_model(f"runs:/{first}/m", "fraud")))
step("register model elsewhere", lambda: version(mlflow.register_model(f"runs:/{first}/m", "other", tags={"x": "y"})))
step("register missing path", lambda: version(mlflow.register_model(f"runs:/{first}/nobody", "other")))
step("tags", lambda: c.get_model_version("other", "1").tags.get("x"))
step("load second", lambda: predict("models:/fraud/2"))
step("stage", lambda: c.transition_model_version_stage("fraud", "2", "Production").current_stage)
step("load by stage", lambda: predict("models:/fraud/Production"))
step("copy", lambda: version(c.copy_model_version("models:/fraud@champion", "fraud-prod")))
step("load copy", lambda: predict("models:/fraud-prod/1"))
step("list", lambda: sorted(f.path for f in mlflow.artifacts.list_artifacts(run_id=first, artifact_path="extra")))
step("list version", lambda: sorted(f.path for f in mlflow.artifacts.list_artifacts("models:/fraud/1") if "example" not in f.path and f.path != "registered_model_meta" and not f.path.startswith("model.")))
step("download", lambda: open(mlflow.artifacts.download_artifacts(run_id=first, artifact_path="extra/note.txt")).read())
step("download folder", lambda: sorted(os.listdir(mlflow.artifacts.download_artifacts(run_id=first, artifact_path="extra"))))
step("download version", lambda: "MLmodel" in os.listdir(mlflow.artifacts.download_artifacts("models:/fraud@champion")))
step("search by run", lambda: sorted(f"{v.name}/{v.version}" for v in c.search_model_versions(f"run_id = '{first}'")))
step("model info", lambda: [sorted(mlflow.models.get_model_info("models:/fraud/1").flavors), mlflow.models.get_model_info("models:/fraud/1").signature.to_dict()["inputs"]])
if THREE:
    lm = c.search_logged_models([c.get_experiment_by_name("training").experiment_id])[0]
    step("register logged model", lambda: version(mlflow.register_model(f"models:/{lm.model_id}", "direct")))
    step("load logged model", lambda: predict(f"models:/{lm.model_id}"))
    step("model versions of a logged model", lambda: sorted({(v["name"], str(v["version"])) for v in json.loads(c.get_logged_model(lm.model_id).tags["mlflow.modelVersions"])}))
    step("logged model and another run", lambda: version(c.create_model_version("direct", f"models:/{lm.model_id}", run_id="x", model_id=lm.model_id)))
    step("logged model and another id", lambda: version(c.create_model_version("direct", f"models:/{lm.model_id}", model_id="m-" + "0" * 32)))

# A folder that another tool pushed. MLflow's own server can't be pushed to: there it is a
# run's.
def push(name, folder):
    if "PEDIGREE" in os.environ:
        return subprocess.run([os.environ["PEDIGREE"], "push", name, folder, "--no-capture", "--quiet"], check=True, capture_output=True, env=dict(os.environ, PEDIGREE_URL=os.environ["MLFLOW_TRACKING_URI"])) and None
    with mlflow.start_run() as r:
        mlflow.log_artifacts(folder, "model")
    mlflow.register_model(f"runs:/{r.info.run_id}/model", name)


step("push", lambda: push("pushed", mlflow.artifacts.download_artifacts("models:/fraud/1")))
step("load pushed", lambda: predict("models:/pushed/1"))
step("alias of pushed", lambda: c.set_registered_model_alias("pushed", "live", "1"))
step("load pushed by alias", lambda: predict("models:/pushed@live"))

# What is logged beside a model.
with mlflow.start_run(run_name="logs") as run:
    mlflow.log_table({"question": ["a", "b"], "answer": ["x", "y"]}, "eval/table.json")
    mlflow.log_dict({"a": 1}, "dict.json")
    mlflow.log_text("hello", "text.txt")
    mlflow.log_text("a,b\n1,2\n", "data/rows.csv")
    mlflow.log_param("epochs", 3)
    for i in range(5):
        mlflow.log_metric("loss", 1 / (i + 1), step=i)
    mlflow.log_input(mlflow.data.from_numpy(np.array([[1.0, 2.0]]), name="numbers"), context="validation")
    logs = run.info.run_id
step("table", lambda: mlflow.load_table("eval/table.json", run_ids=[logs]).to_dict(orient="list"))
step("dict", lambda: mlflow.artifacts.load_dict(f"runs:/{logs}/dict.json"))
step("text", lambda: mlflow.artifacts.load_text(f"runs:/{logs}/text.txt"))
step("history", lambda: [m.value for m in c.get_metric_history(logs, "loss")])
step("inputs", lambda: [[d.dataset.name, d.dataset.source_type, [[t.key, t.value] for t in d.tags]] for d in c.get_run(logs).inputs.dataset_inputs])
step("fluent search", lambda: sorted(m.name for m in mlflow.search_registered_models()))
step("fluent versions", lambda: sorted(f"{v.name}/{v.version}" for v in mlflow.search_model_versions(filter_string="name LIKE 'fraud%'")))
step("model of data", lambda: c.create_registered_model("tables").name)
step("register a folder of data", lambda: version(c.create_model_version("tables", c.get_run(logs).info.artifact_uri, logs)))
step("register a file", lambda: version(c.create_model_version("tables", c.get_run(logs).info.artifact_uri + "/text.txt", logs)))
step("register nothing", lambda: version(c.create_model_version("tables", c.get_run(logs).info.artifact_uri + "/nothing", logs)))


# A model that is a function.
def double(model_input):
    return [2 * v for v in model_input]


def log_function():
    where = {"name": "double"} if THREE else {"artifact_path": "double"}
    with mlflow.start_run():
        mlflow.pyfunc.log_model(python_model=double, input_example=[1, 2], registered_model_name="double", pip_requirements=["numpy"], **where)


step("log function", log_function)
step("call function", lambda: list(mlflow.pyfunc.load_model("models:/double/1").predict([1, 2, 3])))

# What MLflow has no word for, said of a version that is there already.
for key, value in {"pedigree.owner": "team:late", "pedigree.image": "registry.example.org/train:1", "pedigree.target": "prod/late", "pedigree.rollback_note": "go back", "pedigree.data.test": "s3://lake/test"}.items():
    step(f"tag {key}", lambda key=key, value=value: c.set_model_version_tag("double", "1", key, value))
step("tagged later", lambda: sorted((k, v) for k, v in c.get_model_version("double", "1").tags.items() if k != "pedigree.complete"))

# Deleting the run leaves what was registered.
step("delete run", lambda: c.delete_run(first))
step("load after the run", lambda: predict("models:/fraud@champion"))

# A nested run, autologging.
with mlflow.start_run(run_name="outer") as outer:
    with mlflow.start_run(run_name="inner", nested=True) as inner:
        mlflow.log_metric("x", 1.0)
step("nested", lambda: c.get_run(inner.info.run_id).data.tags["mlflow.parentRunId"] == outer.info.run_id)
mlflow.sklearn.autolog(silent=True, registered_model_name="auto")
with mlflow.start_run() as auto:
    LogisticRegression(C=0.5).fit(X, y)
mlflow.sklearn.autolog(disable=True)
step("autolog params", lambda: c.get_run(auto.info.run_id).data.params["C"])
step("autolog registered", lambda: c.get_registered_model("auto").latest_versions[0].version)
step("autolog loads", lambda: predict("models:/auto/1"))

# A file that is overwritten after the registration.
with mlflow.start_run() as run:
    mlflow.log_text("one", "model/MLmodel.txt")
    mlflow.log_text("flavors: {}\n", "model/MLmodel")
step("register files", lambda: version(mlflow.register_model(f"runs:/{run.info.run_id}/model", "files")))
step("wrong version artifact", lambda: raw("GET", "/model-versions/get-artifact?name=files&version=9&path=MLmodel.txt")["status"])
step("version artifact", lambda: raw("GET", "/model-versions/get-artifact?name=files&version=1&path=MLmodel.txt")["status"])
