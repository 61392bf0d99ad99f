"""Run a command with the version that is active at a batch target, and record the run.

    python job.py prod/fraud-nightly scores.jsonl -- python batch.py 2026-11-24 scores.jsonl

    python job.py --written-by fraud/2

The first starts an execution, fetches the version, runs the command with PEDIGREE_PATH,
PEDIGREE_VERSION and the like set, and says how it ended and what it wrote. Its exit code
is that of the command. The second lists what a version wrote.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import registry

if sys.argv[1:2] == ["--written-by"] and len(sys.argv) == 3:
    model, version = sys.argv[2].split("/")
    for execution in registry.call("GET", f"/projects/default/models/{model}/versions/{version}/executions")["items"]:
        for output in execution.get("outputs", []):
            print(execution["started_at"], execution["target"], output["name"], output["digest"])
    sys.exit()
if len(sys.argv) < 5 or sys.argv[3] != "--":
    sys.exit("usage: job.py TARGET OUTPUT -- COMMAND …\n       job.py --written-by MODEL/VERSION")
target, output, _, *command = sys.argv[1:]
execution = registry.call("POST", registry.target_path(target) + "/executions", {})
report = {"exit": 1}
try:
    names = {"TARGET": target, "EXECUTION": execution["id"]} | {name.upper(): str(execution[name]) for name in ("model", "version", "digest", "deployment")}
    names["PATH"] = str(registry.pull(execution, os.environ["FRAUD_MODELS"]))
    environment = os.environ | {"PEDIGREE_" + name: value for name, value in names.items()}
    report["exit"] = subprocess.run(command, env=environment).returncode
    if Path(output).exists():
        content = Path(output).read_bytes()
        report["outputs"] = [{"name": output, "digest": "sha256:" + hashlib.sha256(content).hexdigest(), "size": len(content)}]
finally:
    registry.call("POST", f"/executions/{execution['id']}/finish", report)
sys.exit(report["exit"])
