from asyncio import to_thread
from math import ceil

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from shop.tasks.orders import confirm

from framework.celery.celery import celery
from framework.errors import BrokerError, OverLimit
from framework.progress import last_state

app = FastAPI()


@app.post("/orders/{customer}", status_code=202)
def place(customer: str) -> dict[str, str]:
    return {"task": confirm.delay(customer).id}


@app.post("/quick/{customer}", status_code=202)
async def place_in_the_event_loop(customer: str) -> dict[str, str]:
    sent = await to_thread(confirm.delay, customer)
    return {"task": sent.id}


@app.get("/tasks/{task_id}")
def state(task_id: str) -> dict[str, object]:
    last = last_state(task_id, app=celery)
    if last is None:
        raise HTTPException(404)
    return {"status": last.status, "result": last.result}


@app.exception_handler(OverLimit)
def too_often(_: Request, error: OverLimit) -> JSONResponse:
    return JSONResponse({"detail": "Too often."}, 429, {"Retry-After": str(ceil(error.retry_after))})


@app.exception_handler(BrokerError)
def no_broker(_: Request, _error: BrokerError) -> JSONResponse:
    return JSONResponse({"detail": "Not now. Try again in a minute."}, 503)
