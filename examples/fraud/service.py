"""The online service: scores payments, logs every prediction, takes its model from sync.

    pedigree sync target:prod/fraud-api models --interval 5s --no-report &
    uvicorn service:app --port 8000

Sync keeps models/current at the version that is to run, checked and whole. When that
changes, the service loads it, swaps it in between two requests, and only then says that
it runs it. While the registry is away it goes on with what it has.

    FRAUD_TARGET    the target, prod/fraud-api
    FRAUD_MODELS    the folder that sync keeps
    FRAUD_LOG       the log of predictions, one JSON object a line
    HOSTNAME        what this instance is called
    PEDIGREE_URL, PEDIGREE_TOKEN  the registry, and a token that may report observations
"""

import json
import logging
import os
import threading
import time
import urllib.request
import uuid
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from score import Model

TARGET = os.environ.get("FRAUD_TARGET", "prod/fraud-api")
INSTANCE = os.environ["HOSTNAME"]
THRESHOLD = 0.5
HEARTBEAT = 30  # seconds; a target counts an instance as silent after five minutes

serving = None  # the pointer that sync wrote, and its model, replaced as one
stopping = threading.Event()
predictions = open(os.environ["FRAUD_LOG"], "a", buffering=1)


def swap():
    """Serve what sync has made current, if that is another deployment."""
    global serving
    current = Path(os.environ["FRAUD_MODELS"], "current")
    if current.exists():
        folder = current.resolve()
        pointer = json.loads(folder.with_name(folder.name + ".json").read_text())
        if serving is None or serving[0]["deployment"] != pointer["deployment"]:
            serving = pointer, Model(folder)


def observe(pointer):
    """Say to the registry what this instance runs now."""
    body = {"instance": INSTANCE} | {name: pointer[name] for name in ("deployment", "model", "version", "digest")}
    request = urllib.request.Request(
        f"{os.environ['PEDIGREE_URL']}/api/v1/projects/default/targets/{TARGET}/observations",
        json.dumps(body).encode(),
        {"Authorization": "Bearer " + os.environ["PEDIGREE_TOKEN"], "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


def follow():
    said, when = None, 0.0
    while True:
        try:
            swap()
        except Exception:  # what can't be loaded does not end what runs
            logging.exception("could not load what is current")
        try:  # in any case what runs is said: who lags is not silent
            if serving is not None and (said != serving[0]["deployment"] or time.monotonic() - when > HEARTBEAT):
                observe(serving[0])
                said, when = serving[0]["deployment"], time.monotonic()
        except Exception:
            logging.exception("could not say what runs")
        if stopping.wait(1):
            return


@asynccontextmanager
async def lifespan(_):
    thread = threading.Thread(target=follow)
    thread.start()
    yield
    stopping.set()
    thread.join()


app = FastAPI(lifespan=lifespan)


class Payment(BaseModel):
    amount: float
    hour: int
    foreign: int
    account_age_days: int
    purchases_24h: int
    chargebacks_30d: int = 0


@app.get("/healthz")
def health():
    if serving is None:
        raise HTTPException(503, f"nothing is deployed at {TARGET} yet")
    return {name: serving[0][name] for name in ("model", "version", "deployment")}


@app.post("/score")
def score(payment: Payment):
    if serving is None:
        raise HTTPException(503, f"nothing is deployed at {TARGET} yet")
    pointer, model = serving
    asked, request = datetime.now(timezone.utc), payment.model_dump()
    value = model.scores([request])[0]
    decision = "block" if value >= THRESHOLD else "pass"
    line = {
        "schema": "pedigree.prediction/v1", "id": str(uuid.uuid4()), "time": asked.isoformat(),
        "target": TARGET, "instance": INSTANCE, **{name: pointer[name] for name in ("deployment", "model", "version", "digest")},
        "request": request, "prediction": {"score": value}, "response": {"decision": decision},
    }
    predictions.write(json.dumps(line, allow_nan=False) + "\n")
    return {"id": line["id"], "decision": decision}
