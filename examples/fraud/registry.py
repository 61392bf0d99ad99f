"""What a program that runs models says to the registry, and what it asks.

The address and the token are where every Pedigree program looks: PEDIGREE_URL and
PEDIGREE_TOKEN. Bytes are fetched by `pedigree pull`, which checks every digest.
"""

import json
import os
import subprocess
import urllib.request
from pathlib import Path


def call(method, path, body=None):
    """Send one request to the API and return its answer."""
    request = urllib.request.Request(
        os.environ["PEDIGREE_URL"] + "/api/v1" + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + os.environ["PEDIGREE_TOKEN"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def target_path(target):
    return "/projects/default/targets/" + target


def desired(target):
    """Return the deployment that is to run at a target: the one that waits to be seen, else the active one, else None."""
    status = call("GET", target_path(target) + "/status")
    return status.get("pending") or status.get("current")


def observe(target, instance, deployment):
    """Say that an instance runs a deployment now."""
    call("POST", target_path(target) + "/observations", {
        "instance": instance,
        "deployment": deployment["id"],
        "model": deployment["model"],
        "version": deployment["version"],
        "digest": deployment["digest"],
    })


def pull(deployment, folder):
    """Fetch the version of a deployment below a folder, unless it is there, and return where it is."""
    where = Path(folder) / deployment["digest"].removeprefix("sha256:")
    if not where.exists():
        version = f"{deployment['model']}/{deployment['version']}"
        part = where.with_suffix(".part")
        subprocess.run(["pedigree", "pull", version, str(part), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        part.rename(where)  # whoever sees the folder sees it whole
    return where
