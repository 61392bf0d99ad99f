"""The registry: models, versions, tags, aliases, stages, searches, pages, prompts,
through MlflowClient and in raw requests."""

import mlflow
from mlflow import MlflowClient
from record import raw, step, tick

c = MlflowClient()
API = "/api/2.0/mlflow"
JSON = {"Content-Type": "application/json"}


def post(path, body, method="POST"):
    return raw(method, API + path, json=body)


# --- registered models
step("create", lambda: c.create_registered_model("fraud", tags={"team": "risk", "a b": "c", "x/y:z.w-1": ""}, description="finds fraud"))
step("create again", lambda: c.create_registered_model("fraud"))
step("create plain", lambda: c.create_registered_model("churn"))
step("create odd name", lambda: c.create_registered_model("Modell 模型 'a' \"b\" %_ @x"))
for bad in ["", "  ", "a/b", "a:b", ".", "..", "..a"]:
    step(f"create {bad!r}", lambda bad=bad: c.create_registered_model(bad))
    step(f"get {bad!r}", lambda bad=bad: c.get_registered_model(bad))
step("create 300 characters", lambda: c.create_registered_model("n" * 300))
step("get", lambda: c.get_registered_model("fraud"))
step("get odd name", lambda: c.get_registered_model("Modell 模型 'a' \"b\" %_ @x"))
step("get missing", lambda: c.get_registered_model("nobody"))
step("update", lambda: c.update_registered_model("churn", "who leaves"))
step("update to nothing", lambda: c.update_registered_model("churn", ""))
step("update missing", lambda: c.update_registered_model("nobody", "x"))
step("rename", lambda: c.rename_registered_model("churn", "leavers"))
step("rename back", lambda: c.rename_registered_model("leavers", "churn"))
step("rename to itself", lambda: c.rename_registered_model("churn", "churn"))
step("rename missing", lambda: c.rename_registered_model("nobody", "somebody"))
step("rename to slash", lambda: c.rename_registered_model("churn", "a/b"))
step("rename to blank", lambda: c.rename_registered_model("churn", " "))
step("old name", lambda: c.get_registered_model("leavers"))

# --- tags of models
step("set tag", lambda: c.set_registered_model_tag("fraud", "tier", "high"))
step("set tag again", lambda: c.set_registered_model_tag("fraud", "tier", "low"))
step("set tag number", lambda: c.set_registered_model_tag("fraud", "n", 5))
step("set empty tag", lambda: c.set_registered_model_tag("fraud", "empty", ""))
step("set long tag", lambda: c.set_registered_model_tag("churn", "long", "x" * 100_000))
step("set too long tag", lambda: c.set_registered_model_tag("churn", "long", "x" * 100_001))
for key in ["a|b", "../a", "a//b", "/a", ".", "k" * 250, "k" * 251, "é"]:
    step(f"set tag {key[:20]!r} {len(key)}", lambda key=key: c.set_registered_model_tag("churn", key, "v"))
step("set tag of missing", lambda: c.set_registered_model_tag("nobody", "a", "b"))
step("delete tag", lambda: c.delete_registered_model_tag("fraud", "n"))
step("delete tag again", lambda: c.delete_registered_model_tag("fraud", "n"))
step("delete tag of missing", lambda: c.delete_registered_model_tag("nobody", "n"))
step("tags", lambda: sorted(c.get_registered_model("fraud").tags.items()))

# --- versions
for i in range(1, 6):
    step(f"version {i}", lambda i=i: c.create_model_version("fraud", f"s3://models/fraud/{i}", run_id=f"run{i}", tags={"n": str(i), "half": "yes" if i < 3 else "no"}, description=f"no. {i}"))
    tick()
step("version of churn", lambda: c.create_model_version("churn", "s3://models/churn"))
step("version with link", lambda: c.create_model_version("churn", "gs://models/churn", run_link="http://example.org/run/1"))
step("version of missing", lambda: c.create_model_version("nobody", "s3://models/x"))
step("get version", lambda: c.get_model_version("fraud", "1"))
for v in ["01", " 1 ", "0", "-1", "99", "abc", "1.0", "", "9" * 30]:
    step(f"get version {v!r}", lambda v=v: c.get_model_version("fraud", v))
step("get version of missing", lambda: c.get_model_version("nobody", "1"))
step("update version", lambda: c.update_model_version("fraud", "1", "better"))
step("update version to nothing", lambda: c.update_model_version("fraud", "1", ""))
step("update version missing", lambda: c.update_model_version("fraud", "99", "x"))
step("set version tag", lambda: c.set_model_version_tag("fraud", "1", "ok", "yes"))
step("set version tag again", lambda: c.set_model_version_tag("fraud", "1", "ok", "no"))
step("set version tag bad key", lambda: c.set_model_version_tag("fraud", "1", "a|b", "no"))
step("set version tag missing", lambda: c.set_model_version_tag("fraud", "99", "ok", "no"))
step("delete version tag", lambda: c.delete_model_version_tag("fraud", "1", "ok"))
step("delete version tag again", lambda: c.delete_model_version_tag("fraud", "1", "ok"))
step("delete version tag missing", lambda: c.delete_model_version_tag("fraud", "99", "ok"))
step("version after tags", lambda: c.get_model_version("fraud", "1"))
step("download uri", lambda: c.get_model_version_download_uri("fraud", "1"))
step("download uri missing", lambda: c.get_model_version_download_uri("fraud", "99"))
step("download uri of missing", lambda: c.get_model_version_download_uri("nobody", "1"))
step("model of sources", lambda: c.create_registered_model("sources"))


def source(uri, **kw):
    v = c.create_model_version("sources", uri, **kw)
    return [v.source, v.run_id or "", v.status]


for uri in [
    "s3://bucket", "s3://bucket/a/../b", "s3://bucket/a/./b", "s3://bucket/a%2e%2e/b", "s3://b/%2e%2e/c", "s3://b/%252e%252e/c", "s3://bucket/a//b/", "s3://bucket/a..b",
    "dbfs:/a/b", "hf:/x", "gs://b/a b", "s3://b/a?x=1", "weird:x", "models:/nobody/1", "models:/fraud/99", "models:/fraud/x", "models:/fraud/", "models:/", "models://host/fraud/1",
    "runs:/nobody/m", "runs://x/y", "ftp://h/a", "https://h/a", "hdfs://h/a", "mlflow-artifacts:/a/b", "mlflow-artifacts://h/b",
]:
    step(f"source {uri}", lambda uri=uri: source(uri))
step("source run with its id", lambda: source("runs:/abc/model", run_id="abc"))
step("source run with another", lambda: source("runs:/abc/model", run_id="def"))
step("source model missing", lambda: source("s3://b/c", model_id="m-nobody"))
step("source of a version", lambda: source("models:/fraud/1"))
step("source of a version, run", lambda: source("models:/fraud/1", run_id="run1"))
step("source of a version, other run", lambda: source("models:/fraud/1", run_id="run2"))
step("source latest", lambda: source("models:/fraud/latest"))
step("source stage", lambda: source("models:/fraud/None"))
step("source stage without versions", lambda: source("models:/fraud/Production"))
step("source alias missing", lambda: source("models:/fraud@nobody"))
step("delete sources", lambda: c.delete_registered_model("sources"))

# --- copies
step("copy", lambda: c.copy_model_version("models:/fraud/2", "fraud-copy"))
step("copy again", lambda: c.copy_model_version("models:/fraud/2", "fraud-copy"))
step("copy of a copy", lambda: c.copy_model_version("models:/fraud-copy/1", "fraud-copy-2"))
step("copied model", lambda: c.get_registered_model("fraud-copy"))

# --- aliases
step("set alias", lambda: c.set_registered_model_alias("fraud", "champion", "1"))
step("set alias second", lambda: c.set_registered_model_alias("fraud", "Champion", "2"))
step("set alias é", lambda: c.set_registered_model_alias("fraud", "é-1_x", "2"))
step("move alias", lambda: c.set_registered_model_alias("fraud", "champion", "3"))
for alias in ["a b", "a.b", "latest", "LATEST", "v1", "V12", "v1a", "1", "", "x" * 255, "x" * 256]:
    step(f"set alias {alias[:20]!r} {len(alias)}", lambda alias=alias: c.set_registered_model_alias("fraud", alias, "1"))
step("set alias of missing version", lambda: c.set_registered_model_alias("fraud", "a", "99"))
step("set alias of missing model", lambda: c.set_registered_model_alias("nobody", "a", "1"))
step("get alias", lambda: c.get_model_version_by_alias("fraud", "champion"))
step("get alias missing", lambda: c.get_model_version_by_alias("fraud", "nobody"))
step("get alias of missing model", lambda: c.get_model_version_by_alias("nobody", "champion"))
step("get alias latest", lambda: c.get_model_version_by_alias("fraud", "latest"))
step("get alias bad", lambda: c.get_model_version_by_alias("fraud", "a b"))
step("delete alias", lambda: c.delete_registered_model_alias("fraud", "1"))
step("delete alias again", lambda: c.delete_registered_model_alias("fraud", "1"))
step("delete alias of missing model", lambda: c.delete_registered_model_alias("nobody", "1"))
step("model with aliases", lambda: c.get_registered_model("fraud"))

# --- stages
step("transition", lambda: c.transition_model_version_stage("fraud", "1", "staging"))
step("transition 2", lambda: c.transition_model_version_stage("fraud", "2", "Production"))
step("transition 3", lambda: c.transition_model_version_stage("fraud", "3", "Production", archive_existing_versions=True))
step("archived", lambda: c.get_model_version("fraud", "2"))
step("transition bad", lambda: c.transition_model_version_stage("fraud", "1", "nowhere"))
step("transition missing", lambda: c.transition_model_version_stage("fraud", "99", "Staging"))
step("latest", lambda: sorted(c.get_latest_versions("fraud"), key=lambda v: v.current_stage))
step("latest in stage", lambda: c.get_latest_versions("fraud", ["production"]))
step("latest in two", lambda: sorted(c.get_latest_versions("fraud", ["Staging", "Archived"]), key=lambda v: v.current_stage))
step("latest in bad stage", lambda: c.get_latest_versions("fraud", ["nowhere"]))
step("latest of missing", lambda: c.get_latest_versions("nobody"))
step("latest of none", lambda: c.get_latest_versions("Modell 模型 'a' \"b\" %_ @x"))
step("transition to none", lambda: c.transition_model_version_stage("fraud", "3", "None"))
step("model with stages", lambda: c.get_registered_model("fraud"))

# --- searches
def names(models):
    return [m.name[:20] for m in models]


def versions(found):
    return [f"{v.name}/{v.version}" for v in found]


step("search models", lambda: names(c.search_registered_models()))
for f in [
    "name = 'fraud'", "name != 'fraud'", "name LIKE 'fraud%'", "name LIKE 'F%'", "name ILIKE 'F%'", "name LIKE '%_'", "name IN ('fraud', 'churn')", "name NOT IN ('fraud')",
    "tags.team = 'risk'", "tags.team != 'x'", "tags.`a b` = 'c'", 'tags."a b" = "c"', "tags.tier = 'low' AND tags.team = 'risk'", "tags.tier LIKE 'l%'", "tags.nobody = 'x'", "tags.nobody != 'x'",
    "name = 'fraud' AND tags.team = 'nobody'", "name = \"fraud\"", "tag.team = 'risk'", "attribute.name = 'fraud'", "name > 'a'", "tags.team > 'a'", "name == 'fraud'",
    "name = 'a' OR name = 'b'", "run_id = 'x'", "params.a = 'x'", "name = fraud", "name = 5", "  ",
]:
    step(f"search models {f}", lambda f=f: names(c.search_registered_models(filter_string=f)))
for o in [["name DESC"], ["name"], ["timestamp DESC"], ["last_updated_timestamp ASC"], ["name asc"], ["`name` DESC"], ["foo"], ["name foo"], ["name, timestamp"], [""], ["creation_timestamp"], ["timestamp DESC", "name ASC"]]:
    step(f"order models {o}", lambda o=o: names(c.search_registered_models(order_by=o)))
for n in [1, 2, 1000, 1001]:
    step(f"max models {n}", lambda n=n: c.search_registered_models(max_results=n))
def pages(search, show, **kw):
    out, token = [], None
    while True:
        page = search(page_token=token, **kw)
        out.append(show(page))
        token = page.token
        if not token:
            return out


step("pages of models", lambda: pages(c.search_registered_models, names, max_results=2))
step("pages of models by time", lambda: pages(c.search_registered_models, names, max_results=2, order_by=["timestamp DESC"]))
step("pages of models descending", lambda: pages(c.search_registered_models, names, max_results=2, order_by=["name DESC"]))
step("bad token", lambda: c.search_registered_models(page_token="x"))
step("bad token 2", lambda: c.search_registered_models(page_token="eyJhIjogMX0="))
step("offset token", lambda: names(c.search_registered_models(page_token="eyJvZmZzZXQiOiAyfQ==")))

step("search versions", lambda: versions(c.search_model_versions()))
for f in [
    "name = 'fraud'", "name = 'fraud' AND version_number > 2", "version_number = 1", "version_number = '1'", "version_number != 1", "version_number <= 2", "version_number IN (1)", "version_number LIKE '1'", "version_number = 1.5", "version_number = 'x'",
    "run_id = 'run1'", "run_id != 'run1'", "run_id IN ('run1', 'run2')", "run_id LIKE 'run%'", "run_id = ''", "run_id NOT IN ('run1')", "source_path = 's3://models/fraud/1'", "source_path LIKE 's3://%'", "source_path ILIKE 'S3://MODELS/FRAUD%'",
    "tags.n = '1'", "tags.half = 'yes'", "tags.half != 'yes'", "tags.half = 'yes' AND tags.n = '2'", "tags.half = 'yes' AND tags.half = 'no'", "tags.half LIKE 'y%' AND name = 'fraud'", "tags.nobody = 'x'", "name IN ('fraud-copy', 'churn')",
    "name ILIKE 'FRAUD'", "name = 'nobody'", "name = 'fraud' name = 'fraud'", "name = 'fraud' AND", "NOT name = 'x'", "(name = 'fraud')", "version = 1", "source = 'x'", "metrics.a > 1", "name = 5", "tags.n = 1", "name = \"fraud\"",
]:
    step(f"search versions {f}", lambda f=f: versions(c.search_model_versions(filter_string=f, order_by=["name", "version_number"])))
for o in [["version_number DESC"], ["version_number ASC"], ["name DESC"], ["creation_timestamp DESC"], ["last_updated_timestamp"], ["attribute.name"], ["foo"], ["version_number foo"], ["name", "version_number DESC"], ["tags.n"], ["run_id"]]:
    step(f"order versions {o}", lambda o=o: versions(c.search_model_versions("name LIKE 'fraud%'", order_by=o)))
for n in [1, 3, 0, -1, 200_000, 200_001]:
    step(f"max versions {n}", lambda n=n: len(c.search_model_versions(max_results=n)))
step("pages of versions", lambda: pages(lambda **kw: c.search_model_versions("name = 'fraud'", **kw), versions, max_results=2))
step("pages of versions by number", lambda: pages(lambda **kw: c.search_model_versions("name LIKE 'fraud%'", **kw), versions, max_results=2, order_by=["version_number ASC"]))
step("pages of versions by name", lambda: pages(lambda **kw: c.search_model_versions(**kw), versions, max_results=3, order_by=["name DESC"]))
step("found version", lambda: c.search_model_versions("name = 'churn' AND version_number = 1"))

# --- deletions
step("delete version", lambda: c.delete_model_version("fraud", "3"))
step("delete version again", lambda: c.delete_model_version("fraud", "3"))
step("deleted version", lambda: c.get_model_version("fraud", "3"))
step("alias of deleted version", lambda: c.get_model_version_by_alias("fraud", "champion"))
step("download uri of deleted", lambda: c.get_model_version_download_uri("fraud", "3"))
step("next number", lambda: c.create_model_version("fraud", "s3://models/fraud/6"))
step("delete newest", lambda: c.delete_model_version("fraud", "6"))
step("number after newest", lambda: c.create_model_version("fraud", "s3://models/fraud/7"))
step("model after deletions", lambda: c.get_registered_model("fraud"))
step("delete model", lambda: c.delete_registered_model("fraud-copy"))
step("delete model again", lambda: c.delete_registered_model("fraud-copy"))
step("deleted model", lambda: c.get_registered_model("fraud-copy"))
step("version of deleted model", lambda: c.get_model_version("fraud-copy", "1"))
step("create deleted again", lambda: c.create_registered_model("fraud-copy"))
step("first number again", lambda: c.create_model_version("fraud-copy", "s3://b/c"))
step("aliases again", lambda: c.get_registered_model("fraud-copy"))

# --- times
def changed(f):
    """Which of the model's and the version's last changes moved by f."""
    before = c.get_registered_model("churn"), c.get_model_version("churn", "1")
    tick()
    f()
    after = c.get_registered_model("churn"), c.get_model_version("churn", "1")
    return [a.last_updated_timestamp > b.last_updated_timestamp for a, b in zip(after, before)]


step("times: tag", lambda: changed(lambda: c.set_registered_model_tag("churn", "t", "1")))
step("times: version tag", lambda: changed(lambda: c.set_model_version_tag("churn", "1", "t", "1")))
step("times: alias", lambda: changed(lambda: c.set_registered_model_alias("churn", "t", "1")))
step("times: update", lambda: changed(lambda: c.update_registered_model("churn", "new")))
step("times: update version", lambda: changed(lambda: c.update_model_version("churn", "1", "new")))
step("times: transition", lambda: changed(lambda: c.transition_model_version_stage("churn", "1", "Staging")))
step("times: same transition", lambda: changed(lambda: c.transition_model_version_stage("churn", "1", "Staging")))
step("times: new version", lambda: changed(lambda: c.create_model_version("churn", "s3://b/c")))
step("times: delete version", lambda: changed(lambda: c.delete_model_version("churn", "2")))

# --- what follows a name, and what does not
step("deep: create", lambda: c.create_registered_model("deep", tags={"a": "b"}, description="first"))
for i in range(4):
    step(f"deep: version {i}", lambda i=i: c.create_model_version("deep", f"s3://deep/{i}", run_link=f"http://runs/{i}" if i % 2 else None, description=None if i % 2 else f"no. {i}", tags={"i": str(i)}))
    tick()
step("deep: alias", lambda: c.set_registered_model_alias("deep", "champion", "2"))
step("deep: alias too", lambda: c.set_registered_model_alias("deep", "challenger", "2"))
step("deep: stage", lambda: c.transition_model_version_stage("deep", "1", "PRODUCTION"))
step("deep: stage of two", lambda: c.transition_model_version_stage("deep", "2", "Production"))
step("deep: newest in stage", lambda: [v.version for v in c.get_latest_versions("deep", ["Production"])])
step("deep: stage again", lambda: c.transition_model_version_stage("deep", "2", "Production", archive_existing_versions=True))
step("deep: stages", lambda: [c.get_model_version("deep", str(n)).current_stage for n in range(1, 5)])
step("deep: archive into staging", lambda: c.transition_model_version_stage("deep", "3", "Staging", archive_existing_versions=True))
step("deep: archive none", lambda: post("/model-versions/transition-stage", {"name": "deep", "version": "3", "stage": "None", "archive_existing_versions": False}))
step("deep: raw model", lambda: raw("GET", API + "/registered-models/get?name=deep"))
step("deep: raw version", lambda: raw("GET", API + "/model-versions/get?name=deep&version=2"))
step("deep: raw search", lambda: raw("GET", API + "/model-versions/search?filter=name%3D'deep'&order_by=version_number"))
step("deep: raw models", lambda: raw("GET", API + "/registered-models/search?filter=name%3D'deep'"))
step("deep: rename", lambda: c.rename_registered_model("deep", "deeper"))
step("deep: renamed", lambda: c.get_registered_model("deeper"))
step("deep: alias of renamed", lambda: c.get_model_version_by_alias("deeper", "champion"))
step("deep: version of renamed", lambda: c.get_model_version("deeper", "2"))
step("deep: versions of old name", lambda: versions(c.search_model_versions("name = 'deep'")))
step("deep: versions of new name", lambda: versions(c.search_model_versions("name = 'deeper'", order_by=["version_number"])))
step("deep: old name taken again", lambda: c.create_registered_model("deep"))
step("deep: number under old name", lambda: c.create_model_version("deep", "s3://deep/new").version)
step("deep: rename onto it", lambda: c.rename_registered_model("deeper", "deep"))
step("deep: delete old name", lambda: c.delete_registered_model("deep"))
step("deep: rename back", lambda: c.rename_registered_model("deeper", "deep"))
step("deep: delete version with aliases", lambda: c.delete_model_version("deep", "2"))
step("deep: aliases after", lambda: c.get_registered_model("deep"))
step("deep: alias after", lambda: c.get_model_version_by_alias("deep", "challenger"))
step("deep: latest after", lambda: sorted((v.current_stage, v.version) for v in c.get_latest_versions("deep")))
step("deep: stage of deleted", lambda: c.transition_model_version_stage("deep", "2", "None"))
step("deep: tag of deleted", lambda: c.set_model_version_tag("deep", "2", "a", "b"))
step("deep: alias to deleted", lambda: c.set_registered_model_alias("deep", "x", "2"))
step("deep: update deleted", lambda: c.update_model_version("deep", "2", "x"))
step("deep: copy deleted", lambda: c.copy_model_version("models:/deep/2", "deep-copy"))
step("deep: source of deleted", lambda: post("/model-versions/create", {"name": "deep", "source": "models:/deep/2"})["status"])
for key, value in [("k" * 250, "v"), ("k" * 251, "v"), ("long", "v" * 100_000), ("longer", "v" * 100_001), ("é/ü x.y:z", "ok"), ("a|b", "v"), ("../a", "v"), ("empty", ""), ("n", 5)]:
    step(f"deep: version tag {key[:12]} {len(key)} {len(str(value))}", lambda key=key, value=value: c.set_model_version_tag("deep", "1", key, value))
step("deep: version tags", lambda: c.get_model_version("deep", "1").tags)
step("deep: tag value null", lambda: post("/model-versions/set-tag", {"name": "deep", "version": "1", "key": "null", "value": None}))
step("deep: tag without value", lambda: post("/registered-models/set-tag", {"name": "deep", "key": "none"}))
step("deep: tag without key", lambda: post("/registered-models/set-tag", {"name": "deep", "value": "x"}))
step("deep: delete tag without key", lambda: post("/model-versions/delete-tag", {"name": "deep", "version": "1"}, "DELETE"))
step("deep: create with tags twice", lambda: post("/registered-models/create", {"name": "twice", "tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}))
step("deep: create with a tag without value", lambda: post("/registered-models/create", {"name": "thrice", "tags": [{"key": "a"}]}))
step("deep: create with a tag without key", lambda: post("/registered-models/create", {"name": "fourth", "tags": [{"value": "a"}]})["status"])
step("deep: create with empty description", lambda: post("/registered-models/create", {"name": "fifth", "description": ""}))
step("deep: version without source", lambda: post("/model-versions/create", {"name": "deep"}))
step("deep: version with empty source", lambda: post("/model-versions/create", {"name": "deep", "source": ""}))
step("deep: version with empty run", lambda: post("/model-versions/create", {"name": "deep", "source": "s3://b/c", "run_id": "", "run_link": "", "description": ""}))
step("deep: version with null run", lambda: post("/model-versions/create", {"name": "deep", "source": "s3://b/c", "run_id": None, "tags": None}))
step("deep: version with bad tag", lambda: post("/model-versions/create", {"name": "deep", "source": "s3://b/c", "tags": [{"key": "a|b", "value": "1"}]}))
step("deep: number after refusal", lambda: c.create_model_version("deep", "s3://b/d").version)
step("deep: latest", lambda: c.get_model_version_by_alias("deep", "latest").version)
step("deep: download uri", lambda: c.get_model_version_download_uri("deep", "1"))
for q in ["name=deep&stages=Production&stages=Archived", "name=deep&stages=", "name=deep", "name=deep&stages=production", "stages=None"]:
    step(f"deep: latest GET {q}", lambda q=q: raw("GET", API + "/registered-models/get-latest-versions?" + q))
for body in [{"name": "deep", "stages": ["None"]}, {"name": "deep", "stages": []}, {"name": "deep", "stages": "None"}, {"name": "deep", "stages": [5]}, {"name": "deep", "stages": ["None", "None"]}]:
    step(f"deep: latest POST {body}", lambda body=body: post("/registered-models/get-latest-versions", body))
step("deep: update model without description", lambda: post("/registered-models/update", {"name": "deep"}, "PATCH"))
step("deep: update model null", lambda: post("/registered-models/update", {"name": "deep", "description": None}, "PATCH"))
step("deep: long description", lambda: len(c.update_registered_model("deep", "d" * 5000).description))
step("deep: long version description", lambda: len(c.update_model_version("deep", "1", "d" * 5000).description))
step("deep: search by two orders", lambda: versions(c.search_model_versions("name LIKE 'f%' OR name = 'x'")))
step("deep: order twice", lambda: post("/registered-models/search", {})["status"])
step("deep: pages", lambda: pages(lambda **kw: c.search_model_versions("name = 'deep'", **kw), versions, max_results=1))
step("deep: pages by creation", lambda: pages(lambda **kw: c.search_model_versions("name LIKE 'd%'", **kw), versions, max_results=2, order_by=["creation_timestamp ASC"]))
step("deep: pages by tag", lambda: pages(lambda **kw: c.search_model_versions("tags.i != '9'", **kw), versions, max_results=1, order_by=["version_number DESC"]))
step("deep: exact page", lambda: c.search_registered_models("name = 'deep'", max_results=1))

# --- raw requests
step("raw create", lambda: post("/registered-models/create", {"name": "raw"}))
step("raw get", lambda: raw("GET", API + "/registered-models/get?name=raw"))
step("raw version", lambda: post("/model-versions/create", {"name": "raw", "source": "s3://b/c"}))
step("raw version integer", lambda: post("/registered-models/alias", {"name": "raw", "alias": "x", "version": 1}))
step("raw camel case", lambda: post("/registered-models/rename", {"name": "raw", "newName": "raw2"}))
step("raw both cases", lambda: post("/registered-models/rename", {"name": "raw2", "newName": "raw", "new_name": "raw"}))
step("raw back", lambda: post("/registered-models/rename", {"name": "raw2", "new_name": "raw"}))
step("raw unknown field", lambda: post("/registered-models/create", {"name": "raw3", "nobody": {"a": 1}}))
step("raw missing", lambda: post("/registered-models/create", {}))
step("raw null", lambda: post("/registered-models/create", {"name": None}))
step("raw wrong type", lambda: post("/registered-models/create", {"name": 5}))
step("raw list", lambda: post("/registered-models/create", {"name": ["a"]}))
step("raw object", lambda: post("/registered-models/create", {"name": {"b": 1, "a": 2}}))
step("raw tags text", lambda: post("/registered-models/create", {"name": "raw4", "tags": "x"}))
step("raw malformed", lambda: raw("POST", API + "/registered-models/create", data="{", headers=JSON))
step("raw empty", lambda: raw("POST", API + "/registered-models/create", data="", headers=JSON))
step("raw double", lambda: raw("POST", API + "/registered-models/create", data='"{\\"name\\": \\"raw5\\"}"', headers=JSON))
step("raw content type", lambda: raw("POST", API + "/registered-models/create", data='{"name": "x"}', headers={"Content-Type": "text/plain"}))
step("raw charset", lambda: raw("POST", API + "/registered-models/create", data='{"name": "raw6"}', headers={"Content-Type": "application/json; charset=utf-8"}))
step("raw ajax", lambda: raw("GET", "/ajax-api/2.0/mlflow/registered-models/get?name=raw"))
step("raw get body", lambda: raw("GET", API + "/registered-models/get", data='{"name": "raw"}', headers=JSON))
step("raw delete query", lambda: raw("DELETE", API + "/registered-models/delete?name=raw", headers=JSON))
step("raw delete", lambda: post("/registered-models/delete", {"name": "raw"}, "DELETE"))
step("raw search number", lambda: raw("GET", API + "/registered-models/search?max_results=abc"))
step("raw search over", lambda: raw("GET", API + "/registered-models/search?max_results=1001"))
step("raw versions over", lambda: raw("GET", API + "/model-versions/search?max_results=200001"))
step("raw archive none", lambda: post("/model-versions/transition-stage", {"name": "fraud", "version": "1", "stage": "foo", "archive_existing_versions": True}))
step("raw transition bool", lambda: post("/model-versions/transition-stage", {"name": "fraud", "version": "1", "stage": "Staging", "archive_existing_versions": "yes"}))
step("raw update", lambda: post("/model-versions/update", {"name": "fraud", "version": "1"}, "PATCH"))
step("raw latest GET", lambda: raw("GET", API + "/registered-models/get-latest-versions?name=raw5&stages=None&stages=Staging"))
step("raw download without version", lambda: raw("GET", API + "/model-versions/get-download-uri?name=fraud"))
step("raw alias missing parameter", lambda: raw("GET", API + "/registered-models/alias?name=fraud"))
step("version text", lambda: raw("GET", "/version")["status"])
step("health", lambda: raw("GET", "/health")["status"])

# --- prompts
try:
    from mlflow.genai import load_prompt, register_prompt, search_prompts, set_prompt_alias
except ImportError:
    from mlflow import load_prompt, register_prompt, set_prompt_alias

    def search_prompts():
        return c.search_registered_models("tags.`mlflow.prompt.is_prompt` = 'true'")


def prompt(p):
    return {"name": p.name, "version": p.version, "template": p.template, "tags": {k: v for k, v in p.tags.items() if "experiment" not in k}}


step("register prompt", lambda: prompt(register_prompt("greeting", "Hello {{name}}", commit_message="first", tags={"a": "b"})))
step("register prompt 2", lambda: prompt(register_prompt("greeting", "Hi {{name}}")))
step("load prompt", lambda: prompt(load_prompt("prompts:/greeting/1")))
step("load latest prompt", lambda: prompt(load_prompt("greeting")))
step("prompt alias", lambda: set_prompt_alias("greeting", "live", 1))
step("load prompt by alias", lambda: prompt(load_prompt("prompts:/greeting@live")))
step("search prompts", lambda: [p.name for p in search_prompts()])
step("models without prompts", lambda: "greeting" in names(c.search_registered_models()))
step("versions without prompts", lambda: [v for v in versions(c.search_model_versions()) if "greeting" in v])
step("prompt taken by model", lambda: prompt(register_prompt("fraud", "x")))
step("model taken by prompt", lambda: c.create_registered_model("greeting"))
step("prompt as model", lambda: c.get_registered_model("greeting"))
step("prompt with source", lambda: post("/model-versions/create", {"name": "greeting", "source": "s3://b/c", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}))
step("prompts only", lambda: names(c.search_registered_models("tags.`mlflow.prompt.is_prompt` = 'true'")))
step("model from prompt", lambda: post("/model-versions/create", {"name": "churn", "source": "models:/greeting/1"}))
