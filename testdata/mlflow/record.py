"""What the suites have in common: each step is run against the server that
MLFLOW_TRACKING_URI names, and its answer, made comparable, is printed as one line of
JSON. The same suite runs against Pedigree and against MLflow's own server; whoever runs
both compares the lines.

Times become relations (a change must not be before what it changes), ids that a server
invents become R1, M2 …, and what the answer says of Pedigree alone is left out.
"""

import json
import os
import re
import sys
import time

import requests
from mlflow.exceptions import MlflowException

BASE = os.environ["MLFLOW_TRACKING_URI"].rstrip("/")
names: dict[str, str] = {}
count: dict[str, int] = {}


def name(kind, text):
    """A stable name for an id that a server invented."""
    if text not in names:
        count[kind] = count.get(kind, 0) + 1
        names[text] = f"{kind}{count[kind]}"
    return names[text]


ID = re.compile(r"\bm-[0-9a-f]{32}\b|\b[0-9a-f]{32}\b")


def stable(value):
    if isinstance(value, str):
        value = ID.sub(lambda m: name("M" if m[0].startswith("m-") else "R", m[0]), value)
        value = value.replace(BASE, "BASE")
        value = re.sub(r" Error: \((sqlite3\.|raised as).*", "", value, flags=re.S)  # what the database says of itself
        value = re.sub(r"localhost', port=\d+|127\.0\.0\.1', port=\d+", "BASE", value)
        value = re.sub(r"(.)\1{49,}", lambda m: f"{m[1]}×{len(m[0])}", value)
        # Python prints a set in no particular order.
        return re.sub(r"\{('[^{}]*')\}", lambda m: "{" + ", ".join(sorted(m[1].split(", "))) + "}", value)
    if isinstance(value, dict):
        return {stable(k): stable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [stable(v) for v in value]
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    return stable(str(value))


def step(label, f):
    """Run f and print what it gives: a value, or an error of MLflow's."""
    label = stable(label)
    try:
        line = {"step": label, "value": stable(show(f()))}
    except MlflowException as e:
        line = {"step": label, "error": e.error_code, "message": stable(str(e))}
    except requests.exceptions.RequestException as e:
        line = {"step": label, "error": "connection", "message": type(e).__name__}
    except Exception as e:  # the client itself refuses
        line = {"step": label, "error": type(e).__name__, "message": stable(str(e))}
    print(json.dumps(line, sort_keys=True, ensure_ascii=False), flush=True)
    return line.get("value")


def tags(t):
    """Tags, without those that only Pedigree has."""
    return {k: v for k, v in sorted((t or {}).items()) if k != "pedigree.complete"}


def show(v):
    """An entity of MLflow as plain values."""
    kind = type(v).__name__
    if kind == "PagedList":
        return {"items": [show(x) for x in v], "more": bool(v.token)}
    if isinstance(v, (list, tuple)):
        return [show(x) for x in v]
    if kind == "RegisteredModel":
        return {
            "name": v.name, "description": v.description or "", "tags": tags(v.tags),
            "aliases": {k: str(a) for k, a in sorted((v.aliases or {}).items())},
            "latest": sorted((m.current_stage, str(m.version)) for m in v.latest_versions or []),
            "times": v.creation_timestamp <= v.last_updated_timestamp,
        }
    if kind == "ModelVersion":
        return {
            "name": v.name, "version": str(v.version), "description": v.description or "", "tags": tags(v.tags),
            "aliases": sorted(v.aliases or []), "stage": v.current_stage, "source": v.source, "run": v.run_id or "",
            "status": v.status, "link": v.run_link or "", "times": v.creation_timestamp <= v.last_updated_timestamp,
        }
    if isinstance(v, dict):
        return {k: show(x) for k, x in v.items()}
    return v


session = requests.Session()


def raw(method, path, **kw):
    """One request as it is: status and body."""
    kw.setdefault("timeout", 30)
    r = session.request(method, BASE + path, **kw)
    try:
        body = r.json()
    except ValueError:
        body = "(text)"
    if isinstance(body, dict) and "error_code" in body:
        body = {"error_code": body["error_code"], "message": body["message"]}
    return {"status": r.status_code, "body": strip(body)}


TIMES = {"creation_timestamp", "last_updated_timestamp"}


def strip(body):
    """A body without times and without what only Pedigree sends."""
    if isinstance(body, dict):
        out = {k: strip(v) for k, v in body.items() if k not in TIMES and k != "next_page_token"}
        if "tags" in out and isinstance(out["tags"], list):
            out["tags"] = sorted((t for t in out["tags"] if t.get("key") != "pedigree.complete"), key=lambda t: t["key"])
        for kind in ("latest_versions", "model_versions"):  # in no particular order there
            if kind in out:
                out[kind] = sorted(out[kind], key=lambda v: (v["name"], int(v["version"])))
        if not out.get("aliases", True):
            del out["aliases"]
        return out
    if isinstance(body, list):
        return [strip(v) for v in body]
    return body


def tick():
    """Let a server's clock of milliseconds move on."""
    time.sleep(0.005)


def done():
    sys.stdout.flush()
