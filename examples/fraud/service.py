"""The online service: scores payments, logs every prediction, follows its target.

    uvicorn service:app --port 8000

Once a second it asks what is to run at its target. When that changes it fetches the
version, loads it, swaps it in between two requests, and says so. While the registry is
away it goes on with what it has.

    FRAUD_TARGET   the target, prod/fraud-api
    FRAUD_MODELS   a folder for fetched versions
    FRAUD_LOG      the log of predictions, one JSON object a line
    HOSTNAME       what this instance is called
"""

import json
import logging
import os
import threading
import time
import uuid
from contextlib import asynccontextmanager
from datetime import datetime, timezone

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import registry
from score import Model

TARGET = os.environ.get("FRAUD_TARGET", "prod/fraud-api")
INSTANCE = os.environ["HOSTNAME"]
THRESHOLD = 0.5
HEARTBEAT = 30  # seconds; a target counts an instance as silent after five minutes

serving = None  # the deployment and its model, replaced as one
stopping = threading.Event()
predictions = open(os.environ["FRAUD_LOG"], "a", buffering=1)


def swap():
    """Serve what is desired at the target, if that is another deployment."""
    global serving
    deployment = registry.desired(TARGET)
    if deployment is not None and (serving is None or serving[0]["id"] != deployment["id"]):
        serving = deployment, Model(registry.pull(deployment, os.environ["FRAUD_MODELS"]))


def follow():
    said, when = None, 0.0
    while True:
        try:
            swap()
        except Exception:  # the registry is away, or has what can't be loaded: what runs goes on
            logging.exception("could not follow %s", TARGET)
        try:  # in any case what runs is said: who lags is not silent
            if serving is not None and (said != serving[0]["id"] or time.monotonic() - when > HEARTBEAT):
                registry.observe(TARGET, INSTANCE, serving[0])
                said, when = serving[0]["id"], time.monotonic()
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
    deployment = serving[0]
    return {"model": deployment["model"], "version": deployment["version"], "deployment": deployment["id"]}


@app.post("/score")
def score(payment: Payment):
    if serving is None:
        raise HTTPException(503, f"nothing is deployed at {TARGET} yet")
    deployment, model = serving
    asked, request = datetime.now(timezone.utc), payment.model_dump()
    value = model.scores([request])[0]
    decision = "block" if value >= THRESHOLD else "pass"
    line = {
        "schema": "pedigree.prediction/v1", "id": str(uuid.uuid4()), "time": asked.isoformat(),
        "deployment": deployment["id"], "target": TARGET, "instance": INSTANCE,
        "model": deployment["model"], "version": deployment["version"], "digest": deployment["digest"],
        "request": request, "prediction": {"score": value}, "response": {"decision": decision},
    }
    predictions.write(json.dumps(line, allow_nan=False) + "\n")
    return {"id": line["id"], "decision": decision}
