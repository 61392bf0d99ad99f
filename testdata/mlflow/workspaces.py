"""Workspaces, which are projects: each has models, experiments and files of its own."""

import os

import mlflow
from mlflow import MlflowClient
from record import step

c = MlflowClient()


def names(found):
    return sorted(x.name for x in found)


step("workspaces", lambda: names(mlflow.list_workspaces()))
step("create", lambda: mlflow.create_workspace("risk", description="of the risk team").name)
step("create again", lambda: mlflow.create_workspace("risk"))
step("create default", lambda: mlflow.create_workspace("default"))
step("get", lambda: [mlflow.get_workspace("risk").name, mlflow.get_workspace("risk").description])
step("get missing", lambda: mlflow.get_workspace("nobody"))
step("workspaces after", lambda: names(mlflow.list_workspaces()))

step("model in default", lambda: c.create_registered_model("fraud", tags={"of": "default"}).name)
mlflow.set_workspace("risk")
step("not in risk", lambda: c.get_registered_model("fraud"))
step("model in risk", lambda: c.create_registered_model("fraud", tags={"of": "risk"}).name)
step("another in risk", lambda: c.create_registered_model("churn").name)
step("models of risk", lambda: names(c.search_registered_models()))
step("experiment in risk", lambda: mlflow.set_experiment("training").name)
with mlflow.start_run() as run:
    mlflow.log_param("C", 1)
    mlflow.log_metric("auc", 0.9)
    mlflow.log_text("hello", "model/note.txt")
    mlflow.log_text("flavors: {}\n", "model/MLmodel")
step("register in risk", lambda: [mlflow.register_model(f"runs:/{run.info.run_id}/model", "fraud").version])
step("download in risk", lambda: sorted(os.listdir(mlflow.artifacts.download_artifacts("models:/fraud/1"))))
step("files of the run", lambda: sorted(f.path for f in mlflow.artifacts.list_artifacts(run_id=run.info.run_id, artifact_path="model")))
step("alias in risk", lambda: c.set_registered_model_alias("fraud", "champion", "1"))
mlflow.set_workspace("default")
step("models of default", lambda: names(c.search_registered_models()))
step("tag of default", lambda: c.get_registered_model("fraud").tags["of"])
step("no version in default", lambda: c.get_model_version("fraud", "1"))
step("no alias in default", lambda: c.get_model_version_by_alias("fraud", "champion"))
step("no experiment in default", lambda: c.get_experiment_by_name("training"))
step("no run in default", lambda: c.get_run(run.info.run_id))
step("not downloaded in default", lambda: mlflow.artifacts.download_artifacts("models:/fraud/1"))
mlflow.set_workspace("nobody")
step("missing workspace", lambda: names(c.search_registered_models()))
step("create in missing workspace", lambda: c.create_registered_model("x"))
mlflow.set_workspace("risk")
step("tag of risk", lambda: c.get_registered_model("fraud").tags["of"])
step("load by alias", lambda: c.get_model_version_by_alias("fraud", "champion").version)
for bad in ["", "A", "a/b", "a b", "-a", "x" * 64]:
    step(f"create {bad[:5]!r} {len(bad)}", lambda bad=bad: mlflow.create_workspace(bad).name)
step("update", lambda: mlflow.update_workspace("risk", description="changed").description)
step("delete", lambda: mlflow.delete_workspace("risk"))
