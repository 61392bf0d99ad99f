"""Tracking: experiments, runs, metrics, inputs, logged models and their searches,
through MlflowClient and in raw requests."""

import json
import math
import time

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from record import name, raw, step, tick

c = MlflowClient()
API = "/api/2.0/mlflow"
JSON = {"Content-Type": "application/json"}
THREE = int(mlflow.__version__.split(".")[0]) >= 3


def post(path, body, method="POST"):
    return raw(method, API + path, json=body)


def experiment(e):
    return {"name": e.name, "id": e.experiment_id, "location": e.artifact_location, "stage": e.lifecycle_stage, "tags": dict(sorted(e.tags.items())), "times": e.creation_time <= e.last_update_time}


def run(r):
    i = r.info
    out = {
        "id": i.run_id, "experiment": i.experiment_id, "name": i.run_name, "user": i.user_id, "status": i.status, "stage": i.lifecycle_stage, "start": i.start_time, "end": i.end_time, "uri": i.artifact_uri,
        "params": dict(sorted(r.data.params.items())), "metrics": {k: str(v) for k, v in sorted(r.data.metrics.items())}, "tags": dict(sorted(r.data.tags.items())),
        "inputs": [[d.dataset.name, d.dataset.digest, d.dataset.source_type, d.dataset.source, d.dataset.schema, d.dataset.profile, sorted((t.key, t.value) for t in d.tags)] for d in r.inputs.dataset_inputs],
    }
    if THREE:
        out["models"] = [[m.model_id for m in r.inputs.model_inputs], [[m.model_id, m.step] for m in r.outputs.model_outputs]]
    return out


def metrics(ms):
    return [[m.key, str(m.value), m.timestamp, m.step] for m in ms]


# --- experiments
step("default", lambda: {k: v for k, v in experiment(c.get_experiment("0")).items()})
a = step("create", lambda: c.create_experiment("a", tags={"team": "risk", "x y": "1"}))
step("create again", lambda: c.create_experiment("a"))
step("create with location", lambda: experiment(c.get_experiment(c.create_experiment("elsewhere", artifact_location="s3://bucket/root"))))
for bad in ["", " ", "n" * 501, "n" * 500]:
    step(f"create {bad[:5]!r} {len(bad)}", lambda bad=bad: c.create_experiment(bad))
for location in ["runs:/x", "s3://b/a#x", "s3://b/a?x=1", "s3://b/%2e%2e/c", "x" * 2100]:
    step(f"location {location[:30]}", lambda location=location: post("/experiments/create", {"name": "at " + location[:30], "artifact_location": location})["status"])
step("get", lambda: experiment(c.get_experiment(a)))
for bad in ["999", "x", "", "-1", "1.5", "9" * 30]:
    step(f"get {bad!r}", lambda bad=bad: c.get_experiment(bad))
step("by name", lambda: experiment(c.get_experiment_by_name("a")))
step("by name missing", lambda: c.get_experiment_by_name("nobody"))
step("by name empty", lambda: raw("GET", API + "/experiments/get-by-name"))
step("rename", lambda: c.rename_experiment(a, "b"))
step("rename to taken", lambda: c.rename_experiment(a, "Default"))
step("rename to itself", lambda: c.rename_experiment(a, "b"))
step("rename missing", lambda: c.rename_experiment("999", "c"))
step("rename to nothing", lambda: c.rename_experiment(a, ""))
step("renamed", lambda: experiment(c.get_experiment(a)))
step("set tag", lambda: c.set_experiment_tag(a, "k", "v"))
step("set tag again", lambda: c.set_experiment_tag(a, "k", "w"))
step("set tag empty", lambda: c.set_experiment_tag(a, "empty", ""))
step("set tag missing", lambda: c.set_experiment_tag("999", "k", "v"))
step("set tag bad", lambda: c.set_experiment_tag(a, "a|b", "v"))
step("set tag long key", lambda: c.set_experiment_tag(a, "k" * 251, "v"))
step("set tag long", lambda: c.set_experiment_tag(a, "long", "v" * 5001))
step("set tag longer", lambda: c.set_experiment_tag(a, "long", "v" * 20001))
if THREE:
    step("delete tag", lambda: c.delete_experiment_tag(a, "long"))
    step("delete tag again", lambda: c.delete_experiment_tag(a, "long"))
    step("delete tag of missing", lambda: c.delete_experiment_tag("999", "long"))
step("tags", lambda: experiment(c.get_experiment(a)))
d = c.create_experiment("gone")
step("delete", lambda: c.delete_experiment(d))
step("delete again", lambda: c.delete_experiment(d))
step("delete missing", lambda: c.delete_experiment("999"))
step("deleted", lambda: experiment(c.get_experiment(d)))
step("deleted by name", lambda: experiment(c.get_experiment_by_name("gone")))
step("create as deleted", lambda: c.create_experiment("gone"))
step("run in deleted", lambda: c.create_run(d))
step("rename deleted", lambda: c.rename_experiment(d, "x"))
step("tag deleted", lambda: c.set_experiment_tag(d, "a", "b"))
step("set deleted experiment", lambda: mlflow.set_experiment("gone"))
step("restore", lambda: c.restore_experiment(d))
step("restore again", lambda: c.restore_experiment(d))
step("restored", lambda: experiment(c.get_experiment(d)))
step("delete once more", lambda: c.delete_experiment(d))


def experiments(found):
    return [e.name[:20] for e in found]


for f in [
    None, "", "name = 'b'", "name != 'b'", "name LIKE 'e%'", "name ILIKE 'E%'", "attribute.name = 'b'", "attributes.name = 'b'", "attr.name = 'b'", "tags.team = 'risk'", "tag.team = 'risk'", "tags.`x y` = '1'", 'tags."x y" = "1"', "tags.team != 'x'", "tags.nobody != 'x'",
    "tags.team IS NULL", "tags.team IS NOT NULL", "name IS NULL", "creation_time > 0", "creation_time > '0'", "last_update_time >= 5.5", "creation_time < 0", "experiment_id = '0'", "experiment_id IN ('0', '1')", "experiment_id NOT IN ('0')", "experiment_id = 0", "experiment_id LIKE '0'",
    "name IN ('a', 'b')", "name > 'a'", "tags.team > 'a'", "foo = 'x'", "name = 'a' OR name = 'b'", "name = b", "name = 'b' AND tags.k = 'w'", "name = 'b' AND tags.k = 'v'", "params.a = 'x'", "name == 'b'", "name = 'b", " ", "NOT name = 'b'", "(name = 'b')", "name = 5",
]:
    step(f"search {f}", lambda f=f: experiments(c.search_experiments(filter_string=f, order_by=["name"])))
for o in [["name"], ["name DESC"], ["experiment_id ASC"], ["creation_time"], ["last_update_time DESC"], ["attribute.name"], ["foo"], ["name foo"], ["tags.team"], [""], ["name", "name"], ["name, experiment_id"], ["`name` DESC"]]:
    step(f"order {o}", lambda o=o: experiments(c.search_experiments(filter_string="name != 'Default'", order_by=o)))
for v in [ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL]:
    step(f"view {v}", lambda v=v: experiments(c.search_experiments(view_type=v, order_by=["name"])))
for n in [0, -1, 1, 50000, 50001]:
    step(f"max {n}", lambda n=n: experiments(c.search_experiments(max_results=n, order_by=["name"])))


def pages(search, show, **kw):
    out, token = [], None
    while True:
        page = search(page_token=token, **kw)
        out.append(show(page))
        token = page.token
        if not token:
            return out


step("pages of experiments", lambda: pages(c.search_experiments, experiments, max_results=2, order_by=["name DESC"]))
step("bad token", lambda: c.search_experiments(page_token="x"))
step("raw search", lambda: sorted(post("/experiments/search", {"max_results": 1, "order_by": ["experiment_id"]})["body"]))
step("raw search GET", lambda: [e["name"] for e in raw("GET", API + "/experiments/search?max_results=1&order_by=experiment_id")["body"]["experiments"]])
step("raw search without a limit", lambda: post("/experiments/search", {}))
step("raw search view", lambda: post("/experiments/search", {"max_results": 5, "view_type": "NOBODY"})["status"])

# --- runs
e = c.create_experiment("runs")
r = c.create_run(e, start_time=1000, run_name="first", tags={"a": "b", "mlflow.user": "ann"})
rid = r.info.run_id
step("created", lambda: run(r))
step("get run", lambda: run(c.get_run(rid)))
step("get run missing", lambda: run(c.get_run("0" * 32)))
step("get run bad id", lambda: raw("GET", API + "/runs/get?run_id=a/b"))
step("get run without id", lambda: raw("GET", API + "/runs/get"))
step("create without experiment", lambda: post("/runs/create", {})["status"])
step("create in missing", lambda: c.create_run("999"))
step("create in bad", lambda: post("/runs/create", {"experiment_id": "x"}))
step("create with two names", lambda: c.create_run(e, run_name="one", tags={"mlflow.runName": "two"}))
step("create with the tag alone", lambda: c.create_run(e, tags={"mlflow.runName": "tagged"}, start_time=1).info.run_name)
step("create with a long tag", lambda: len(c.create_run(e, tags={"long": "x" * 9000}, start_time=1).data.tags["long"]))
step("create with a bad tag", lambda: c.create_run(e, tags={"a|b": "x"}, start_time=1).data.tags["a|b"])
step("create unnamed", lambda: bool(c.create_run(e, start_time=2).info.run_name))
step("log param", lambda: c.log_param(rid, "p", "1"))
step("log param again", lambda: c.log_param(rid, "p", "1"))
step("log param changed", lambda: c.log_param(rid, "p", "2"))
step("log param number", lambda: c.log_param(rid, "n", 0.5))
step("log param empty", lambda: c.log_param(rid, "empty", ""))
step("log param long", lambda: c.log_param(rid, "long", "x" * 6000))
step("log param too long", lambda: c.log_param(rid, "longer", "x" * 6001))
step("log param bad key", lambda: c.log_param(rid, "a|b", "x"))
step("log param path", lambda: c.log_param(rid, "../a", "x"))
step("log param long key", lambda: c.log_param(rid, "k" * 251, "x"))
step("log param missing run", lambda: c.log_param("0" * 32, "a", "x"))
step("raw param", lambda: post("/runs/log-parameter", {"run_id": rid}))
step("raw param number", lambda: post("/runs/log-parameter", {"run_id": rid, "key": "x", "value": 5}))
step("log metric", lambda: c.log_metric(rid, "m", 0.5, timestamp=10, step=1))
step("log metric later", lambda: c.log_metric(rid, "m", 0.25, timestamp=20, step=2))
step("log metric earlier", lambda: c.log_metric(rid, "m", 0.75, timestamp=30, step=0))
step("log metric twice", lambda: c.log_metric(rid, "m", 0.75, timestamp=30, step=0))
step("log nan", lambda: c.log_metric(rid, "nan", float("nan"), timestamp=1))
step("log inf", lambda: c.log_metric(rid, "inf", float("inf"), timestamp=1))
step("log -inf", lambda: c.log_metric(rid, "minus inf", -math.inf, timestamp=1))
step("log metric negative step", lambda: c.log_metric(rid, "neg", 1, timestamp=1, step=-5))
step("log metric negative time", lambda: c.log_metric(rid, "neg", 1, timestamp=-1))
step("log metric bad key", lambda: c.log_metric(rid, "a|b", 1))
step("log metric long key", lambda: c.log_metric(rid, "k" * 251, 1, timestamp=1))
for body in [{}, {"key": "x"}, {"key": "x", "value": 1}, {"key": "x", "value": "1", "timestamp": "5"}, {"key": "x", "value": "one", "timestamp": 5}, {"key": "x", "value": True, "timestamp": 5}, {"key": "x", "value": 1, "timestamp": 1.5}, {"key": "x", "value": "NaN", "timestamp": 5, "step": "7"}, {"key": "x", "value": None, "timestamp": 5}, {"key": "", "value": 1, "timestamp": 5}]:
    step(f"raw metric {body}", lambda body=body: post("/runs/log-metric", {"run_id": rid, **body}))
step("history", lambda: metrics(c.get_metric_history(rid, "m")))
step("history missing", lambda: metrics(c.get_metric_history(rid, "nobody")))
step("history of missing", lambda: metrics(c.get_metric_history("0" * 32, "m")))
step("history page", lambda: {k: v for k, v in raw("GET", f"{API}/metrics/get-history?run_id={rid}&metric_key=m&max_results=2")["body"].items() if k != "next_page_token"})
step("history bad max", lambda: raw("GET", f"{API}/metrics/get-history?run_id={rid}&metric_key=m&max_results=0"))
step("history without key", lambda: raw("GET", f"{API}/metrics/get-history?run_id={rid}"))
step("history bad token", lambda: raw("GET", f"{API}/metrics/get-history?run_id={rid}&metric_key=m&max_results=1&page_token=x"))
AJAX = "/ajax-api/2.0/mlflow"
step("bulk", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk?run_id={rid}&metric_key=m"))
step("bulk missing run", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk?run_id={'0' * 32}&metric_key=m"))
step("bulk none", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk?metric_key=m"))
step("bulk no key", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk?run_id={rid}"))
step("bulk max", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk?run_id={rid}&metric_key=m&max_results=1"))
step("interval", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk-interval?run_ids={rid}&metric_key=m"))
step("interval of steps", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk-interval?run_ids={rid}&metric_key=m&start_step=1&end_step=2"))
step("interval half", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk-interval?run_ids={rid}&metric_key=m&start_step=1"))
step("interval around", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk-interval?run_ids={rid}&metric_key=m&start_step=2&end_step=1"))
step("interval none", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk-interval?metric_key=m"))
step("interval no key", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk-interval?run_ids={rid}"))
step("interval max", lambda: raw("GET", f"{AJAX}/metrics/get-history-bulk-interval?run_ids={rid}&metric_key=m&max_results=0"))
step("set run tag", lambda: c.set_tag(rid, "t", "1"))
step("set run tag again", lambda: c.set_tag(rid, "t", "2"))
step("set run tag long", lambda: c.set_tag(rid, "tl", "x" * 8001))
step("set run tag bad", lambda: c.set_tag(rid, "a|b", "x"))
step("set run name by tag", lambda: c.set_tag(rid, "mlflow.runName", "renamed"))
step("delete run tag", lambda: c.delete_tag(rid, "tl"))
step("delete run tag again", lambda: c.delete_tag(rid, "tl"))
step("delete run tag of missing", lambda: c.delete_tag("0" * 32, "tl"))
step("update", lambda: c.update_run(rid, status="FINISHED", name="last"))
step("updated", lambda: [c.get_run(rid).info.status, c.get_run(rid).info.run_name, c.get_run(rid).data.tags["mlflow.runName"]])
step("raw update", lambda: post("/runs/update", {"run_id": rid, "status": "RUNNING"})["body"]["run_info"]["status"])
step("raw update number", lambda: post("/runs/update", {"run_id": rid, "status": 3, "end_time": 5000})["body"]["run_info"])
step("raw update bad", lambda: post("/runs/update", {"run_id": rid, "status": "NOBODY"})["status"])
step("raw update empty name", lambda: post("/runs/update", {"run_id": rid, "run_name": ""})["body"]["run_info"]["run_name"])
step("update missing", lambda: c.set_terminated("0" * 32))
step("terminate", lambda: c.set_terminated(rid, "FAILED", end_time=7000))
step("run after all", lambda: run(c.get_run(rid)))

# --- batches
b = c.create_run(e, start_time=3).info.run_id
step("batch", lambda: c.log_batch(b, [Metric("x", 1.0, 5, 0), Metric("x", 2.0, 6, 1), Metric("y", 3, 5, 0)], [Param("p", "1"), Param("q", "2")], [RunTag("t", "u"), RunTag("mlflow.runName", "batched")]))
step("batch empty", lambda: c.log_batch(b))
step("batch param changed", lambda: c.log_batch(b, params=[Param("r", "1"), Param("p", "3")]))
step("batch after failing", lambda: c.get_run(b).data.params)
step("batch param twice", lambda: c.log_batch(b, params=[Param("s", "1"), Param("s", "2")]))
step("batch param twice alike", lambda: c.log_batch(b, params=[Param("s", "1"), Param("s", "1")]))
step("batch tag twice", lambda: c.log_batch(b, tags=[RunTag("w", "1"), RunTag("w", "2")]))
step("batch missing run", lambda: c.log_batch("0" * 32, params=[Param("s", "1")]))
step("batch 1001 metrics", lambda: post("/runs/log-batch", {"run_id": b, "metrics": [{"key": "z", "value": i, "timestamp": i, "step": i} for i in range(1001)]}))
step("batch 101 params", lambda: post("/runs/log-batch", {"run_id": b, "params": [{"key": f"z{i}", "value": "1"} for i in range(101)]}))
step("batch 101 tags", lambda: post("/runs/log-batch", {"run_id": b, "tags": [{"key": f"z{i}", "value": "1"} for i in range(101)]}))
step("batch 1001 of all", lambda: post("/runs/log-batch", {"run_id": b, "metrics": [{"key": "z", "value": i, "timestamp": i, "step": i} for i in range(901)], "params": [{"key": f"z{i}", "value": "1"} for i in range(100)]}))
step("batch 1000", lambda: post("/runs/log-batch", {"run_id": b, "metrics": [{"key": "z", "value": i, "timestamp": i, "step": i} for i in range(1000)]}))
for body in [{"metrics": [{"key": "a"}]}, {"metrics": [{"key": "a", "value": 1}]}, {"metrics": "x"}, {"metrics": [{"key": "a|b", "value": 1, "timestamp": 1}]}, {"params": [{"value": "x"}]}, {"params": [{"key": "a"}]}, {"params": [{"key": "", "value": "x"}]}, {"params": [{"key": "a|b", "value": "x"}]}, {"tags": [{"value": "x"}]}, {"tags": [{"key": "a"}]}, {"tags": {"key": "a"}}, {"params": [{"key": "k" * 251, "value": "v"}]}, {"tags": [{"key": "k" * 251, "value": "v"}]}]:
    step(f"raw batch {str(body)[:80]}", lambda body=body: post("/runs/log-batch", {"run_id": b, **body}))
step("raw batch without run", lambda: post("/runs/log-batch", {"metrics": []}))
step("batched", lambda: run(c.get_run(b)))

# --- inputs
step("log inputs", lambda: c.log_inputs(b, [DatasetInput(Dataset("set", "d1", "local", "s3://x/y", schema="{}", profile="{}"), [InputTag("mlflow.data.context", "training"), InputTag("z", "1")])]))
step("log inputs again", lambda: c.log_inputs(b, [DatasetInput(Dataset("set", "d1", "local", "s3://x/y"), [InputTag("mlflow.data.context", "eval")])]))
step("log inputs other", lambda: c.log_inputs(b, [DatasetInput(Dataset("other", "d2", "code", "{}"))]))
for body in [{}, {"datasets": [{"dataset": {"name": "n" * 501, "digest": "d", "source_type": "s", "source": "s"}}]}, {"datasets": [{"dataset": {"name": "n", "digest": "d" * 37, "source_type": "s", "source": "s"}}]}, {"datasets": [{"tags": [{"key": "a"}], "dataset": {"name": "n", "digest": "d", "source_type": "s", "source": "s"}}]}, {"datasets": "x"}, {"datasets": [{"tags": [{"key": "k" * 256, "value": "v"}], "dataset": {"name": "n", "digest": "d", "source_type": "s", "source": "s"}}]}, {"datasets": [{"tags": [{"key": "k", "value": "v" * 501}], "dataset": {"name": "n", "digest": "d", "source_type": "s", "source": "s"}}]}]:
    step(f"raw inputs {str(body)[:80]}", lambda body=body: post("/runs/log-inputs", {"run_id": b, **body}))
step("log inputs missing run", lambda: c.log_inputs("0" * 32, [DatasetInput(Dataset("other", "d2", "code", "{}"))]))
step("inputs", lambda: run(c.get_run(b))["inputs"])
step("search datasets", lambda: sorted(map(json.dumps, raw("POST", AJAX + "/experiments/search-datasets", json={"experiment_ids": [e]})["body"]["dataset_summaries"])))
step("search datasets of nothing", lambda: raw("POST", AJAX + "/experiments/search-datasets", json={"experiment_ids": ["0"]}))
step("search datasets without ids", lambda: raw("POST", AJAX + "/experiments/search-datasets", json={}))
step("search datasets of missing", lambda: raw("POST", AJAX + "/experiments/search-datasets", json={"experiment_ids": ["999"]}))
step("search datasets of many", lambda: raw("POST", AJAX + "/experiments/search-datasets", json={"experiment_ids": [str(i) for i in range(21)]}))
step("search datasets bad", lambda: raw("POST", AJAX + "/experiments/search-datasets", json={"experiment_ids": "x"}))

# --- searches
s = c.create_experiment("search")
ids = []
for i in range(6):
    x = c.create_run(s, start_time=100 + i, run_name=f"r{i}", tags={"n": str(i), "odd": str(i % 2), "a.b": "c", "x y": "z"})
    ids.append(x.info.run_id)
    c.log_batch(ids[-1], [Metric("acc", i / 10, 1, 0), Metric("acc", i / 5, 2, 1)] + ([Metric("a b", float(i), 1, 0)] if i else []) + ([Metric("bad", math.nan if i == 1 else math.inf, 1, 0)] if i in (1, 2) else []), [Param("lr", str(i)), Param("opt", "adam" if i < 3 else "SGD")])
    if i % 2:
        c.set_terminated(ids[-1], end_time=200 + i)
c.log_inputs(ids[0], [DatasetInput(Dataset("set", "d1", "local", "s3://x"), [InputTag("mlflow.data.context", "train")])])
c.log_inputs(ids[1], [DatasetInput(Dataset("set", "d2", "local", "s3://x"), [InputTag("mlflow.data.context", "test")])])
c.delete_run(ids[5])


def runs(found):
    return [x.info.run_name for x in found]


for f in [
    "", "metrics.acc > 0.3", "metrics.acc >= 0.4", "metrics.acc = 0.4", "metrics.acc != 0.4", "metric.acc < 0.3", "metrics.`a b` > 1", 'metrics."a b" <= 1', "metrics.bad > 0", "metrics.nobody > 0", "metrics.acc > '0.3'", "metrics.acc LIKE '1'", "metrics.acc > 3e-1", "metrics.acc > -1", "metrics.acc IS NULL", "metrics.bad IS NULL",
    "params.lr = '1'", "params.lr != '1'", "param.lr = '1'", "parameter.lr = '1'", "parameters.lr = '1'", "params.lr LIKE '1%'", "params.opt ILIKE 'sgd'", "params.opt LIKE 'sgd'", "params.lr > '1'", "tags.n > '1'", "dataset.name > 'a'", "status > 'a'", "start_time LIKE 1", "metrics.acc LIKE 1", "metrics.acc ~ 1", "params.lr = 1", "params.lr IN ('1', '2')", "params.nobody != '1'", "params.nobody IS NULL", "params.lr IS NOT NULL",
    "tags.n = '3'", "tag.n = '3'", "tags.odd = '1'", "tags.`a.b` = 'c'", "tags.a.b = 'c'", "tags.`x y` = 'z'", "tags.n != '3'", "tags.n LIKE '%3'", "tags.nobody IS NULL", "tags.n IS NOT NULL", "tags.mlflow.runName = 'r1'", "tags.\"mlflow.runName\" LIKE 'r%'", "tags.n IN ('1')",
    "attributes.status = 'FINISHED'", "attribute.status = 'RUNNING'", "status = 'FINISHED'", "attr.status != 'FINISHED'", "run.status = 'FINISHED'", "status LIKE 'F%'", "status = 'finished'", "status IN ('FINISHED')", "run_name = 'r1'", "run_name LIKE 'r%'", "attributes.run_name ILIKE 'R1'", "`run name` = 'r1'", "attributes.`Run name` = 'r1'", "attributes.\"Run Name\" = 'r2'",
    "start_time > 102", "attributes.start_time = 101", "start_time < '102'", "created > 102", "Created > 102", "attributes.`Start Time` > 102", "end_time > 0", "end_time IS NULL", "artifact_uri LIKE '%artifacts'", "user_id = 'x'", "user_id != 'x'", "lifecycle_stage = 'active'", "experiment_id = '1'", f"run_id = '{ids[2]}'", f"run_id IN ('{ids[2]}', '{ids[3]}')", f"run_id NOT IN ('{ids[2]}')", f"attributes.run_id = '{ids[1]}'", "run_id IN ()", "run_id IN (1)", "run_id LIKE '%'",
    "dataset.name = 'set'", "datasets.name = 'set'", "dataset.digest = 'd1'", "dataset.context = 'test'", "dataset.name LIKE 's%'", "dataset.digest IN ('d1', 'd2')", "dataset.foo = 'x'", "dataset.name = 5", "datasets.name != 'set'", "dataset.name = 'set' AND dataset.context = 'train'",
    "metrics.acc > 0.3 AND params.opt = 'adam'", "metrics.acc > 0.3 and params.opt = 'SGD' AND tags.odd = '0'", "metrics.acc > 0.3 OR params.opt = 'adam'", "metrics.acc > 0.3 params.opt = 'adam'", "AND metrics.acc > 0.3", "metrics.acc > 0.3 AND", "(metrics.acc > 0.3)", "NOT metrics.acc > 0.3", "foo.bar = 'x'", "foo = 'x'", "acc > 0.3", "metrics > 0.3", "metrics. > 0.3", "metrics.acc", "metrics.acc >", "> 0.3", "'a' = 'a'", "params.lr = a", "params.lr = `1`", "params.lr = 'a", "params.lr == '1'", "params.lr = \"1\"", "params.lr = 'it''s'", "params.lr=1.5", "params.'lr' = '1'", "metrics.acc > 0.3;", "metrics.acc > 0.3; DROP TABLE x", "metrics.acc > 0.3 -- x", "metrics.acc BETWEEN 0 AND 1", "params.lr = ''", " ", "metrics.acc > 1 + 1",
]:
    step(f"runs {f}", lambda f=f: runs(c.search_runs([s], f, order_by=["start_time"])))
for o in [["metrics.acc"], ["metrics.acc DESC"], ["metrics.`a b` ASC"], ["metrics.bad"], ["metrics.bad DESC"], ["params.opt", "params.lr DESC"], ["tags.odd DESC", "start_time ASC"], ["start_time"], ["start_time DESC"], ["attributes.start_time DESC"], ["end_time"], ["end_time DESC"], ["status", "start_time"], ["run_name DESC"], ["attribute.run_name"], ["`Run name`"], ["Created DESC"], ["run_id"][:0], ["foo"], ["foo.bar"], ["metrics.acc foo"], ["metrics.acc,"], [""], ["start_time", "start_time DESC"], ["dataset.name"], ["params.nobody"], ["metrics.nobody", "start_time DESC"], ["metrics.acc desc"], ["tags.`x y`"]]:
    step(f"order runs {o}", lambda o=o: runs(c.search_runs([s], order_by=o)))
for v in [ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL]:
    step(f"view runs {v}", lambda v=v: runs(c.search_runs([s], run_view_type=v, order_by=["start_time"])))
for n in [0, -1, 1, 50000, 50001]:
    step(f"max runs {n}", lambda n=n: runs(c.search_runs([s], max_results=n, order_by=["start_time"])))
step("pages of runs", lambda: pages(lambda **kw: c.search_runs([s], order_by=["metrics.acc DESC"], **kw), runs, max_results=2))
step("runs of two", lambda: len(c.search_runs([s, e])))
step("runs of none", lambda: runs(c.search_runs([])))
step("runs of missing", lambda: runs(c.search_runs(["999"])))
step("runs of bad", lambda: post("/runs/search", {"experiment_ids": ["x"]}))
step("runs bad token", lambda: runs(c.search_runs([s], page_token="x")))
step("runs raw", lambda: sorted(post("/runs/search", {"experiment_ids": [s], "max_results": 1})["body"]))
step("runs raw view", lambda: len(post("/runs/search", {"experiment_ids": [s], "run_view_type": 3})["body"]["runs"]))
step("runs raw bad view", lambda: post("/runs/search", {"experiment_ids": [s], "run_view_type": "X"})["status"])
step("runs raw order text", lambda: post("/runs/search", {"experiment_ids": [s], "order_by": "start_time"}))
step("frame", lambda: sorted(mlflow.search_runs([s], "tags.odd = '1'").columns))

# --- deleted runs
step("deleted run", lambda: c.get_run(ids[5]).info.lifecycle_stage)
step("delete run again", lambda: c.delete_run(ids[5]))
step("log to deleted", lambda: c.log_metric(ids[5], "m", 1))
step("param of deleted", lambda: c.log_param(ids[5], "m", 1))
step("tag deleted run", lambda: c.set_tag(ids[5], "m", 1))
step("untag deleted run", lambda: c.delete_tag(ids[5], "n"))
step("update deleted run", lambda: c.update_run(ids[5], name="x"))
step("batch deleted run", lambda: c.log_batch(ids[5], tags=[RunTag("x", "y")]))
step("inputs deleted run", lambda: c.log_inputs(ids[5], [DatasetInput(Dataset("other", "d2", "code", "{}"))]))
step("restore run", lambda: c.restore_run(ids[5]))
step("restore run again", lambda: c.restore_run(ids[5]))
step("restored run", lambda: c.get_run(ids[5]).info.lifecycle_stage)
step("delete run missing", lambda: c.delete_run("0" * 32))
step("restore run missing", lambda: c.restore_run("0" * 32))
x = c.create_experiment("with runs")
y = c.create_run(x).info.run_id
c.delete_experiment(x)
step("run of deleted experiment", lambda: c.get_run(y).info.lifecycle_stage)
c.restore_experiment(x)
step("run of restored experiment", lambda: c.get_run(y).info.lifecycle_stage)

# --- log model, of clients before MLflow 3
step("log model", lambda: post("/runs/log-model", {"run_id": rid, "model_json": json.dumps({"artifact_path": "m", "flavors": {}, "run_id": rid, "utc_time_created": "x"})}))
step("log model bad", lambda: post("/runs/log-model", {"run_id": rid, "model_json": "{"}))
step("log model without", lambda: post("/runs/log-model", {"run_id": rid}))
step("log model half", lambda: sorted(post("/runs/log-model", {"run_id": rid, "model_json": "{}"})["body"]["message"]))
step("log model missing run", lambda: post("/runs/log-model", {"run_id": "0" * 32, "model_json": json.dumps({"artifact_path": "m", "flavors": {}, "run_id": rid, "utc_time_created": "x"})}))
step("log model history", lambda: [m["artifact_path"] for m in json.loads(c.get_run(rid).data.tags["mlflow.log-model.history"])])

# --- logged models
LM = API + "/logged-models"
lx = c.create_experiment("logged models")
made = []


def logged(body):
    if "model" not in body:
        return body
    m = body["model"]
    info = {k: v for k, v in m["info"].items() if "timestamp" not in k}
    for k in ("tags",):
        if k in info:
            info[k] = sorted(info[k], key=lambda t: t["key"])
    data = m.get("data", {})
    return {"info": info, "params": sorted(data.get("params", []), key=lambda p: p["key"]), "metrics": sorted(({k: v for k, v in x.items()} for x in data.get("metrics", [])), key=lambda p: (p["key"], p.get("dataset_name", "")))}


def model(method, path, body=None):
    r = raw(method, LM + path, **({"json": body} if body is not None else {}))
    return {"status": r["status"], "body": logged(r["body"])}


def create(**body):
    r = model("POST", "", {"experiment_id": lx, **body})
    if r["status"] == 200:
        made.append(r["body"]["info"]["model_id"])
        tick()
    return r


step("create logged model", lambda: create(name="one", model_type="agent", source_run_id=b, params=[{"key": "p", "value": "1"}], tags=[{"key": "t", "value": "1"}]))
step("create logged model bare", lambda: create(name="two"))
step("create logged model unnamed", lambda: create()["status"])
for n in ["a/b", "a:b", "a.b", "a%b", "a'b", 'a"b', "", "x" * 251]:
    step(f"create logged model {n[:10]!r}", lambda n=n: {k: v for k, v in create(name=n).items() if n != "" and len(n) < 200 or k == "status"})
step("create logged model in missing", lambda: model("POST", "", {"experiment_id": "999", "name": "x"}))
step("create logged model in none", lambda: model("POST", "", {"name": "x"}))
step("create logged model of missing run", lambda: create(name="three", source_run_id="0" * 32)["status"])
step("create logged model tags", lambda: create(name="four", tags=[{"key": "a|b", "value": "x"}])["status"])
step("get logged model", lambda: model("GET", "/" + made[0]))
step("get logged model missing", lambda: model("GET", "/m-nobody"))
step("finish", lambda: model("PATCH", "/" + made[0], {"model_id": made[0], "status": "LOGGED_MODEL_READY"}))
step("finish by number", lambda: model("PATCH", "/" + made[1], {"model_id": made[1], "status": 3})["body"]["info"]["status"])
step("finish bad", lambda: model("PATCH", "/" + made[2], {"model_id": made[2], "status": "X"})["status"])
step("finish without", lambda: model("PATCH", "/" + made[0], {"model_id": made[0]}))
step("finish missing", lambda: model("PATCH", "/m-nobody", {"model_id": "m-nobody", "status": 2}))
step("tag logged model", lambda: model("PATCH", f"/{made[0]}/tags", {"model_id": made[0], "tags": [{"key": "u", "value": "2"}, {"key": "t", "value": "3"}]}))
step("untag logged model", lambda: model("DELETE", f"/{made[0]}/tags/u"))
step("untag logged model again", lambda: model("DELETE", f"/{made[0]}/tags/u"))
step("untag logged model missing", lambda: model("DELETE", "/m-nobody/tags/u"))
step("params of logged model", lambda: model("POST", f"/{made[0]}/params", {"model_id": made[0], "params": [{"key": "q", "value": "2"}]}))
step("params of logged model again", lambda: model("POST", f"/{made[0]}/params", {"model_id": made[0], "params": [{"key": "q", "value": "2"}]})["status"] < 500)
step("params of logged model missing", lambda: model("POST", "/m-nobody/params", {"model_id": "m-nobody", "params": [{"key": "q", "value": "2"}]}))
step("metric of logged model", lambda: post("/runs/log-metric", {"run_id": b, "key": "auc", "value": 0.5, "timestamp": 1, "model_id": made[0], "dataset_name": "set", "dataset_digest": "d1"}))
step("metric of logged model 2", lambda: post("/runs/log-batch", {"run_id": b, "metrics": [{"key": "auc", "value": 0.75, "timestamp": 2, "model_id": made[1]}]}))
step("outputs", lambda: post("/runs/outputs", {"run_id": b, "models": [{"model_id": made[0], "step": 3}]}))
step("outputs missing run", lambda: post("/runs/outputs", {"run_id": "0" * 32, "models": [{"model_id": made[0], "step": 3}]}))
step("outputs without", lambda: post("/runs/outputs", {"run_id": b}))
step("inputs of models", lambda: post("/runs/log-inputs", {"run_id": b, "models": [{"model_id": made[1]}]}))
step("logged model after all", lambda: model("GET", "/" + made[0]))
step("run with models", lambda: run(c.get_run(b)).get("models"))


def search(**body):
    """The names of the logged models that a search finds."""
    r = raw("POST", LM + "/search", json={"experiment_ids": [lx], **body})
    if r["status"] != 200:
        return r
    return [n for n in (m["info"]["name"] for m in r["body"].get("models", [])) if "-" not in n]  # without invented ones


for f in [
    "", "name = 'one'", "name != 'one'", "name LIKE 't%'", "name ILIKE 'T%'", "name IN ('one', 'two')", "name NOT IN ('one')", "attributes.name = 'one'", "attribute.name = 'one'", "model_type = 'agent'", "status = 'READY'", "status = 'LOGGED_MODEL_READY'", "status = 2", f"source_run_id = '{b}'", f"model_id = '{made[0]}'", "creation_timestamp > 0", "creation_time > 0", "creation_timestamp_ms > 0", "last_updated_timestamp > 0", "creation_timestamp > '0'",
    "metrics.auc > 0.6", "metrics.auc >= 0.5", "metrics.auc = 'x'", "metrics.nobody > 0", "params.p = '1'", "params.q = '2'", "params.p > '1'", "params.p LIKE '1%'", "tags.t = '3'", "tags.t != '3'", "tags.nobody = '3'", "tags.`t` = '3'", "metrics.auc > 0.1 AND params.p = '1'", "name = 'one' OR name = 'two'", "foo = 'x'", "foo.bar = 'x'", "name = one", "name = 5", "name", "NOT name = 'one'", "name > 'a'", "metrics.auc LIKE 'x'", "metrics.auc IN (1)", " ", "name = 'one' AND",
]:
    step(f"logged models {f}", lambda f=f: search(filter=f, order_by=[{"field_name": "name", "ascending": True}]))
for o in [[{"field_name": "name"}], [{"field_name": "name", "ascending": False}], [{"field_name": "creation_timestamp", "ascending": True}], [{"field_name": "creation_time"}], [{"field_name": "last_updated_timestamp"}], [{"field_name": "metrics.auc"}], [{"field_name": "metrics.auc", "ascending": False}], [{"field_name": "metrics.auc", "dataset_name": "set", "dataset_digest": "d1"}], [{"field_name": "params.p"}], [{"field_name": "foo"}], [{"field_name": "status"}], [{}], "x", [{"field_name": "name", "ascending": "x"}]]:
    step(f"order logged models {o}", lambda o=o: search(filter="name IN ('one', 'two')", order_by=o))
step("logged models of a data set", lambda: search(datasets=[{"dataset_name": "set"}], filter="metrics.auc > 0"))
step("logged models of another digest", lambda: search(datasets=[{"dataset_name": "set", "dataset_digest": "nobody"}], filter="metrics.auc > 0"))
step("logged models of no name", lambda: search(datasets=[{"dataset_digest": "nobody"}]))
step("logged models without ids", lambda: raw("POST", LM + "/search", json={}))
step("logged models max 1", lambda: len(raw("POST", LM + "/search", json={"experiment_ids": [lx], "max_results": 1})["body"]["models"]))
step("logged models bad token", lambda: search(page_token="x"))
step("delete logged model", lambda: model("DELETE", "/" + made[1]))
step("delete logged model again", lambda: model("DELETE", "/" + made[1]))
step("deleted logged model", lambda: model("GET", "/" + made[1]))
step("search after deletion", lambda: search(filter="name = 'two'"))

# --- artifacts of runs
root = c.get_run(rid).info.artifact_uri.replace("mlflow-artifacts:/", "")
ART = "/api/2.0/mlflow-artifacts/artifacts"
step("put", lambda: raw("PUT", f"{ART}/{root}/dir/a.txt", data=b"hello")["status"])
step("put umlaut", lambda: raw("PUT", f"{ART}/{root}/dir/%C3%BC%20b.txt", data=b"hello!")["status"])
step("put empty", lambda: raw("PUT", f"{ART}/{root}/empty", data=b"")["status"])
step("list", lambda: raw("GET", f"{ART}?path={root}"))
step("list dir", lambda: raw("GET", f"{ART}?path={root}/dir"))
step("list file", lambda: raw("GET", f"{ART}?path={root}/dir/a.txt"))
step("list missing", lambda: raw("GET", f"{ART}?path={root}/nobody"))
step("list of run", lambda: raw("GET", f"{API}/artifacts/list?run_id={rid}"))
step("list of run dir", lambda: raw("GET", f"{API}/artifacts/list?run_id={rid}&path=dir"))
step("list of run missing", lambda: raw("GET", f"{API}/artifacts/list?run_id={rid}&path=nobody"))
step("list of run file", lambda: raw("GET", f"{API}/artifacts/list?run_id={rid}&path=dir/a.txt"))
step("list of missing run", lambda: raw("GET", f"{API}/artifacts/list?run_id={'0' * 32}"))
step("list of run traversal", lambda: raw("GET", f"{API}/artifacts/list?run_id={rid}&path=../x"))
step("get-artifact", lambda: raw("GET", f"/get-artifact?run_id={rid}&path=dir/a.txt")["status"])
step("get-artifact missing", lambda: raw("GET", f"/get-artifact?run_id={rid}&path=../x"))
step("get-artifact no path", lambda: raw("GET", f"/get-artifact?run_id={rid}")["status"])
step("get-artifact no run", lambda: raw("GET", f"/get-artifact?run_id={'0' * 32}&path=x"))
step("upload", lambda: raw("POST", f"{AJAX}/upload-artifact?run_uuid={rid}&path=up/x.txt", data=b"up")["status"])
step("upload no path", lambda: raw("POST", f"{AJAX}/upload-artifact?run_uuid={rid}", data=b"up"))
step("upload no run", lambda: raw("POST", f"{AJAX}/upload-artifact?path=x", data=b"up"))
step("client lists", lambda: [[f.path, f.is_dir, f.file_size] for f in c.list_artifacts(rid)])
step("client lists dir", lambda: [[f.path, f.is_dir, f.file_size] for f in c.list_artifacts(rid, "dir")])
step("delete dir", lambda: raw("DELETE", f"{ART}/{root}/dir")["status"])
step("list after", lambda: raw("GET", f"{ART}?path={root}"))
step("delete again", lambda: raw("DELETE", f"{ART}/{root}/dir")["status"])
