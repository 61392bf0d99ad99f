"""The calls of `go run ./bench mlflow` as a user of MLflow's Python client has them.

Prints a JSON object: call -> median milliseconds. The server's address is in
MLFLOW_TRACKING_URI; COUNT is how often each call is made.
"""

import json
import os
import statistics
import sys
import time

import mlflow
from mlflow.entities import Metric

count = int(sys.argv[1])
client = mlflow.MlflowClient()
run = client.create_run("0")
source = "s3://models/fraud"


def metrics(step):
    now = int(time.time() * 1000)
    return [Metric(f"metric-{i % 10}", i / 7, now, step * 10 + i // 10) for i in range(100)]


calls = {
    "create_model_version": lambda n: client.create_model_version("model-00", source, tags={"grade": "common", "region": "region-1"}),
    "get_model_version_by_alias": lambda n: client.get_model_version_by_alias(f"model-{n % 50:02d}", "champion"),
    "search_model_versions, a tag": lambda n: client.search_model_versions("tags.grade = 'rare'", max_results=50),
    "log_batch, 100 metrics": lambda n: client.log_batch(run.info.run_id, metrics=metrics(n)),
    "log_text": lambda n: client.log_text(run.info.run_id, "x" * 16384, f"{n}.txt"),
}
answer = {}
for name, call in calls.items():
    call(0)  # connections and imports are not what is asked about
    took = []
    for n in range(1, count + 1):
        begin = time.perf_counter()
        call(n)
        took.append((time.perf_counter() - begin) * 1000)
    answer[name] = statistics.median(took)
print(json.dumps(answer))
