"""Webhooks: made, changed, tried and removed through MlflowClient, and what a real
receiver gets of what happens."""

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from record import BASE, raw, step

API = "/api/2.0/mlflow"
SECRET = "keep it to yourself"
got = []
answer = {"status": 200}


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        got.append((self.path, dict(self.headers), body))
        self.send_response(answer["status"])
        self.end_headers()
        self.wfile.write(b"thanks")

    def log_message(self, *args):
        pass


receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{receiver.server_port}"
c = MlflowClient()


def hook(w):
    return {
        "name": w.name, "description": w.description, "url": w.url.replace(URL, "URL"), "events": [str(e) for e in w.events], "status": str(w.status),
        "changed": w.last_updated_timestamp > w.creation_timestamp, "secret": w.secret,
    }


def signed(headers, body, secret):
    """Whether a delivery is signed as a receiver of MLflow checks it."""
    headers = {k.lower(): v for k, v in headers.items()}
    uuid.UUID(headers["x-mlflow-delivery-id"])
    if abs(int(headers["x-mlflow-timestamp"]) - time.time()) > 300:
        return "old"
    if "x-mlflow-signature" not in headers:
        return "no"
    content = f"{headers['x-mlflow-delivery-id']}.{headers['x-mlflow-timestamp']}.{body.decode()}"
    want = base64.b64encode(hmac.new(secret.encode(), content.encode(), hashlib.sha256).digest()).decode()
    return "yes" if headers["x-mlflow-signature"] == "v1," + want else "wrong"


def delivered(path, n, secret=SECRET):
    """The n deliveries to a path, in an order of their own: MLflow sends at once."""
    deadline = time.time() + 20
    while len([1 for p, _, _ in got if p == path]) < n and time.time() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    out = []
    for p, headers, body in got:
        if p == path:
            message = json.loads(body)
            time.strptime(message.pop("timestamp")[:19], "%Y-%m-%dT%H:%M:%S")
            out.append({"signed": signed(headers, body, secret), "type": headers.get("Content-Type"), "message": message})
    got[:] = [g for g in got if g[0] != path]
    return sorted(out, key=lambda d: json.dumps(d, sort_keys=True))


ALL = [
    "registered_model.created", "model_version.created", "model_version_tag.set", "model_version_tag.deleted", "model_version_alias.created",
    "model_version_alias.deleted", "prompt.created", "prompt_version.created", "prompt_tag.set", "prompt_tag.deleted", "prompt_version_tag.set",
    "prompt_version_tag.deleted", "prompt_alias.created", "prompt_alias.deleted",
]

step("none", lambda: [hook(w) for w in c.list_webhooks()])
a = c.create_webhook("all", URL + "/all", ALL, description="everything", secret=SECRET)
step("create", lambda: hook(a))
b = c.create_webhook("plain", URL + "/plain", ["model_version.created"])
off = c.create_webhook("off", URL + "/off", ALL, status="DISABLED")
step("create disabled", lambda: hook(off))
step("same name", lambda: hook(c.create_webhook("plain", URL + "/plain", ["prompt.created"], status="DISABLED")))
step("get", lambda: hook(c.get_webhook(a.webhook_id)))
step("get missing", lambda: c.get_webhook("nope"))
step("list", lambda: [hook(w) for w in c.list_webhooks()])


def pages():
    first = c.list_webhooks(max_results=3)
    rest = c.list_webhooks(max_results=3, page_token=first.token)
    return [[w.name for w in first], [w.name for w in rest], bool(rest.token)]


step("pages", pages)
step("list 0", lambda: len(c.list_webhooks(max_results=0)))
step("list 1001", lambda: c.list_webhooks(max_results=1001))
for name in ["-x-", "x!", "a" * 63, "a" * 64, "", "a", "a.b_c-d"]:
    step(f"name {name[:10]!r} {len(name)}", lambda name=name: hook(c.create_webhook(name, URL + "/x", ["prompt.created"], status="DISABLED")))
for url in ["ftp://example.org/x", "  ", "https://", "example.org"]:
    step(f"url {url!r}", lambda url=url: hook(c.create_webhook("u", url, ["prompt.created"])))
step("no events", lambda: raw("POST", API + "/webhooks", json={"name": "n", "url": URL, "events": []}))
step("missing events", lambda: raw("POST", API + "/webhooks", json={"name": "n", "url": URL}))
step("missing name", lambda: raw("POST", API + "/webhooks", json={"url": URL, "events": [{"entity": "PROMPT", "action": "CREATED"}]}))
step("bad action", lambda: raw("POST", API + "/webhooks", json={"name": "n", "url": URL, "events": [{"entity": "REGISTERED_MODEL", "action": "DELETED"}]}))
step("bad action of two", lambda: raw("POST", API + "/webhooks", json={"name": "n", "url": URL, "events": [{"entity": "MODEL_VERSION_TAG", "action": "CREATED"}]}))
step("bad entity", lambda: raw("POST", API + "/webhooks", json={"name": "n", "url": URL, "events": [{"entity": "NOPE", "action": "CREATED"}]}))
step("update", lambda: hook(c.update_webhook(b.webhook_id, name="plainer", description="of versions", events=["model_version.created", "registered_model.created"])))
step("update nothing", lambda: {k: v for k, v in hook(c.update_webhook(b.webhook_id)).items() if k != "changed"})
step("update bad name", lambda: c.update_webhook(b.webhook_id, name="x!"))
step("update missing", lambda: c.update_webhook("nope", name="x"))

# --- tests
step("test", lambda: vars(c.test_webhook(a.webhook_id)))
step("test sent", lambda: delivered("/all", 1)[0]["signed"])
for event in ALL:
    step(f"test {event}", lambda event=event: c.test_webhook(a.webhook_id, event).success)
    step(f"test {event} sent", lambda: delivered("/all", 1))
answer["status"] = 500
step("test refused", lambda: c.test_webhook(off.webhook_id).success)
answer["status"] = 200
step("test disabled", lambda: vars(c.test_webhook(off.webhook_id, "prompt.created")))
step("test missing", lambda: c.test_webhook("nope"))
delivered("/off", 0)

# --- what happens
c.create_registered_model("fraud", tags={"team": "risk"}, description="finds fraud")
c.create_registered_model("bare")
c.create_model_version("fraud", "s3://models/fraud/1", run_id="run1", tags={"n": "1"}, description="first")
c.create_model_version("fraud", "s3://models/fraud/2")
c.set_registered_model_tag("fraud", "silent", "yes")
c.set_model_version_tag("fraud", "1", "half", "yes")
c.delete_model_version_tag("fraud", "1", "half")
c.set_registered_model_alias("fraud", "champion", "1")
c.set_registered_model_alias("fraud", "champion", "2")
c.delete_registered_model_alias("fraud", "champion")
c.update_registered_model("fraud", "silent")
c.transition_model_version_stage("fraud", "1", "Staging")


def send(method, path, **body):
    r = requests.request(method, BASE + API + path, json=body, timeout=30)
    r.raise_for_status()


def tags(**t):
    return [{"key": k.replace("__", "."), "value": v} for k, v in t.items()]


send("POST", "/registered-models/create", name="greeting", description="a prompt", tags=tags(mlflow__prompt__is_prompt="true", lang="en"))
send("POST", "/model-versions/create", name="greeting", source="dummy-source", description="says hello",
     tags=tags(mlflow__prompt__is_prompt="true", mlflow__prompt__text="Hello {{name}}", x="y"))
send("POST", "/registered-models/set-tag", name="greeting", key="lang", value="de")
send("DELETE", "/registered-models/delete-tag", name="greeting", key="lang")
send("POST", "/model-versions/set-tag", name="greeting", version="1", key="k", value="v")
send("DELETE", "/model-versions/delete-tag", name="greeting", version="1", key="k")
send("POST", "/registered-models/alias", name="greeting", alias="live", version="1")
send("DELETE", "/registered-models/alias", name="greeting", alias="live")
for i, d in enumerate(delivered("/all", 16)):
    step(f"delivery {i}", lambda d=d: d)
for i, d in enumerate(delivered("/plain", 4)):
    step(f"plain delivery {i}", lambda d=d: d)
step("disabled gets nothing", lambda: delivered("/off", 0))

# --- another secret, and none
c.update_webhook(a.webhook_id, secret="another")
step("test with another secret", lambda: (c.test_webhook(a.webhook_id, "prompt.created").success, delivered("/all", 1, "another")))
raw("PATCH", API + "/webhooks/" + a.webhook_id, json={"secret": ""})
step("test without a secret", lambda: (c.test_webhook(a.webhook_id, "prompt.created").success, delivered("/all", 1, "another")))
c.update_webhook(a.webhook_id, status="DISABLED")
step("disabled", lambda: hook(c.get_webhook(a.webhook_id))["status"])
c.delete_webhook(a.webhook_id)


def missing(f):
    """The error of a call about the webhook that is gone, without its id."""
    try:
        f(a.webhook_id)
    except MlflowException as e:
        return e.error_code, str(e).replace(a.webhook_id, "ID")


step("deleted", lambda: missing(c.get_webhook))
step("delete again", lambda: missing(c.delete_webhook))
step("left", lambda: len(c.list_webhooks()))
