"""A client of a registry with accounts: refused without a token, at work with one.

usage: access.py URL TOKEN VIEWER DEPLOYER APPROVER: TOKEN is of a contributor, VIEWER of a
viewer, DEPLOYER of a contributor who may deploy, APPROVER of an approver. The alias production
is protected, and needs an approval.
"""

import os
import sys
import tempfile
import urllib.request

url, token, viewer, deployer, approver = sys.argv[1:6]
os.environ["MLFLOW_TRACKING_URI"] = url
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient


def as_nobody():
    for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        os.environ.pop(name, None)


def refused(what, code, f, why=""):
    try:
        f()
    except MlflowException as e:
        assert e.error_code == code and why in str(e), f"{what}: {e.error_code}: {e}"
        print(what, "is refused:", e.error_code)
        return
    raise AssertionError(what + " is not refused")


client = MlflowClient()
as_nobody()
refused("nobody", "UNAUTHENTICATED", lambda: client.search_registered_models())

os.environ["MLFLOW_TRACKING_TOKEN"] = token
mlflow.set_experiment("access")
with mlflow.start_run() as run:
    mlflow.log_param("depth", 6)
    mlflow.log_metric("auc", 0.9)
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "weights.txt")
        with open(path, "w") as f:
            f.write("1 2 3")
        mlflow.log_artifact(path, "model")
client.create_registered_model("access")
version = client.create_model_version("access", f"runs:/{run.info.run_id}/model", run.info.run_id)
client.set_registered_model_alias("access", "champion", version.version)
print("a contributor registered version", version.version)

as_nobody()
os.environ["MLFLOW_TRACKING_USERNAME"] = "ci"
os.environ["MLFLOW_TRACKING_PASSWORD"] = token
assert client.get_model_version_by_alias("access", "champion").version == version.version
with tempfile.TemporaryDirectory() as d:
    got = mlflow.artifacts.download_artifacts("models:/access@champion", dst_path=d)
    with open(os.path.join(got, "weights.txt")) as f:
        assert f.read() == "1 2 3"
print("user name and token work, too")

os.environ["MLFLOW_TRACKING_PASSWORD"] = viewer
assert client.get_model_version("access", version.version).name == "access"
refused("a viewer's alias", "PERMISSION_DENIED", lambda: client.set_registered_model_alias("access", "champion", version.version))
refused("a viewer's run", "PERMISSION_DENIED", lambda: client.create_run("0"))


def alias():
    client.set_registered_model_alias("access", "production", version.version)


def stage():
    return client.transition_model_version_stage("access", version.version, "Production")


os.environ["MLFLOW_TRACKING_PASSWORD"] = token
refused("a contributor's protected alias", "PERMISSION_DENIED", alias, "deployments.write")
refused("a contributor's protected stage", "PERMISSION_DENIED", stage, "deployments.write")
os.environ["MLFLOW_TRACKING_PASSWORD"] = deployer
refused("an alias without an approval", "PERMISSION_DENIED", alias, "moving the protected alias production to access/1 is refused: approval")
refused("a stage without an approval", "PERMISSION_DENIED", stage, "the stage Production for access/1 is refused: approval")
approve = urllib.request.Request(
    f"{url}/api/v1/projects/default/models/access/versions/1/approval/approve",
    method="POST",
    headers={"Authorization": f"Bearer {approver}"},
)
urllib.request.urlopen(approve)
alias()
assert stage().current_stage == "Production"
assert client.get_model_version_by_alias("access", "production").version == version.version
print("approved, the alias and the stage move")
