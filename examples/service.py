"""A service of two workers with one cache: 40 visitors at once ask four questions, and the model is asked four times.

`uvicorn service:app --workers 2` serves it. Run as a program, it starts this server, sends the visitors, stops it, and
starts it again: then the model is not asked at all. It needs `pip install fastapi uvicorn`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from fastapi import FastAPI, HTTPException

import memollm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

QUESTIONS = ["What is a sample?", "What is a slot?", "What is a namespace?", "What is a run?"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Leave in order: finish the calls under way, then close the cache."""
    yield
    await memollm.settle(timeout=30)
    await memollm.default_cache().aclose()


app = FastAPI(lifespan=lifespan)


@memollm.cached_llm(pool=1, ttl="1d")
async def ask(question: str) -> str:
    """Ask a model; the simulated one takes a fifth of a second and never says the same twice."""
    await asyncio.sleep(0.2)
    return f"{question} Answer {random.randrange(10**6)}."


@app.get("/ask")
async def answer(question: str) -> dict[str, str | int]:
    """Answer a visitor."""
    return {"answer": await ask(question), "worker": os.getpid()}


@app.get("/health")
def health() -> dict[str, str]:
    """Say whether the cache can be used."""
    wrong = [f"{found.about}: {found.text}" for found in memollm.default_cache().doctor() if found.state == "wrong"]
    if wrong:
        raise HTTPException(503, wrong)
    return {"status": "ok"}


def main() -> None:
    """Serve twice from one cache."""
    with tempfile.TemporaryDirectory() as folder:
        for start in ("first", "second"):
            with serving(folder) as address:
                print(f"{start} start: health is {get(f'{address}/health')['status']}")
                asked = [f"{address}/ask?question={quote(question)}" for question in 10 * QUESTIONS]
                with ThreadPoolExecutor(len(asked)) as visitors:
                    answers = list(visitors.map(get, asked))
            different = {each["answer"] for each in answers}
            print(f"  {len(answers)} visitors got {len(different)} different answers")
        with memollm.Cache(folder) as cache:
            print(cache.stats("function"))


@contextmanager
def serving(folder: str) -> Generator[str]:
    """Start the server on a free port, and end it as a service manager does."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "service:app", "--workers", "2", "--port", str(port)]
        environment = {**os.environ, "MEMOLLM_CACHE": folder}
        server = subprocess.Popen([*command, "--log-level", "warning"], cwd=Path(__file__).parent, env=environment)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/health", server)
            yield address
        finally:
            server.terminate()
            server.wait(60)


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    """Ask until the server answers."""
    while server.poll() is None:
        try:
            get(url)
        except URLError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"The server ended with {server.returncode}.")


def get(url: str) -> dict[str, str]:
    """Ask the service."""
    with urlopen(url, timeout=60) as response:  # noqa: S310 - the service's own address
        answered: dict[str, str] = json.load(response)
    return answered


if __name__ == "__main__":
    main()
