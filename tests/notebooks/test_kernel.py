"""Notebooks in real kernels, by `make integrations`: edits, reruns, restarts, two kernels, what awaits, interrupts."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("ipykernel")
pytest.importorskip("nbclient")
import nbformat
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

DEADLINE = 60
DEFINED = """
import asyncio, pathlib, time, memollm
cache = memollm.Cache("cache")
begun = pathlib.Path("begun")

def answer(prompt):
    with open("paid", "a") as paid:
        paid.write(f"{prompt}\\n")
    return f"{prompt} {len(open('paid').readlines())}"

@cache.cached_llm(name="ask", version=1)
def ask(prompt):
    if prompt == "slow" and not begun.exists():
        begun.touch()
        time.sleep(600)
    return answer(prompt)

@cache.cached_llm(name="ask", version=1)
async def ask_later(prompt):
    await asyncio.sleep(0)
    return answer(prompt)
"""


class Kernel:
    """A kernel, as a frontend that names its cells sees it."""

    def __init__(self, folder):
        self.folder = folder
        self.manager, self.client = start_new_kernel(startup_timeout=DEADLINE, cwd=str(folder))
        self.begin()

    def begin(self):
        self.run("load", "%load_ext memollm")
        self.run("define", DEFINED)

    def restart(self):
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=DEADLINE)
        self.begin()

    def send(self, cell, text):
        """Ask for a cell's execution as JupyterLab does, and return the request's id."""
        content = {"code": text, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def outcome(self, request):
        """Wait for an execution's end, and return its value or the name of its error."""
        value = None
        while True:
            message = self.client.get_iopub_msg(timeout=DEADLINE)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "execute_result":
                value = content["data"]["text/plain"]
            elif kind == "error":
                value = content["ename"]
            elif kind == "status" and content["execution_state"] == "idle":
                return value

    def run(self, cell, text):
        return self.outcome(self.send(cell, text))

    def paid(self):
        file = self.folder / "paid"
        return len(file.read_text().splitlines()) if file.exists() else 0


@contextmanager
def kernel_in(folder):
    kernel = Kernel(folder)
    try:
        yield kernel
    finally:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    with kernel_in(tmp_path) as kernel:
        yield kernel


def test_edits_reruns_and_a_restart(kernel):
    """Every cell is given its own again, and only what an edit adds is paid for."""
    first, other = kernel.run("a", "ask.draw(2, 'x')"), kernel.run("b", "ask.draw(2, 'x')")
    assert first != other
    assert kernel.run("a", "# edited\nask.draw(2, 'x')") == first
    assert kernel.paid() == 4
    kernel.restart()
    assert kernel.run("b", "ask.draw(2, 'x')") == other
    assert kernel.run("a", "ask.draw(3, 'x')[:2]") == first
    assert kernel.paid() == 5
    assert kernel.run("a", "%%memollm new\nask.draw(2, 'x')") not in {first, other}
    assert kernel.run("a", "ask.draw(2, 'x')") == first


def test_what_awaits_at_the_top(kernel):
    """A cell that awaits is a cell: it replays, and another draws other samples."""
    awaited = "await asyncio.gather(*[ask_later('x') for _ in range(3)])"
    first = kernel.run("a", awaited)
    assert kernel.run("b", awaited) != first
    assert sorted(kernel.run("a", awaited)) == sorted(first)
    assert kernel.run("c", "%%memollm --mode offline\nawait ask_later('nothing')") == "CacheMiss"
    assert kernel.run("a", "await ask_later('x')") in first
    assert kernel.paid() == 6


def test_a_map_shows_its_progress(kernel):
    """What a frontend is given is one display, written anew, whose last says that all is done."""
    request, shown = kernel.send("a", "ask.map(['x', 'y'])"), []
    while True:
        message = kernel.client.get_iopub_msg(timeout=DEADLINE)
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] in {"display_data", "update_display_data"}:
            shown.append(message["content"])
        elif message["content"].get("execution_state") == "idle":
            break
    assert "2 of 2 done" in shown[-1]["data"]["text/plain"]
    assert len({each["transient"]["display_id"] for each in shown}) == 1


def test_two_kernels_on_one_cache(kernel, tmp_path):
    """A second kernel is given what the cells of the first have."""
    with kernel_in(tmp_path) as other:
        assert kernel.run("a", "ask('x')") == other.run("a", "ask('x')")
        assert other.run("b", "ask('x')") == kernel.run("b", "ask('x')")
    assert kernel.paid() == 2


def test_an_interrupt_in_mid_cell(kernel):
    """What was answered before the interrupt is replayed, and what was not is paid for."""
    text = "got = [ask('x'), ask('x')]; ask('slow'); got"
    request, deadline = kernel.send("a", text), time.monotonic() + DEADLINE
    while not (kernel.folder / "begun").exists():
        assert time.monotonic() < deadline
    kernel.manager.interrupt_kernel()
    assert kernel.outcome(request) == "KeyboardInterrupt"
    before = kernel.run("look", "got")
    assert kernel.run("a", text) == before
    assert kernel.paid() == 3


def test_a_notebook_that_is_executed_again_pays_for_nothing(tmp_path, monkeypatch):
    """Where a frontend names no cells, as nbclient, a cell is its text."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = ["%load_ext memollm", DEFINED, "ask.draw(2, 'x')", "await ask_later('x')", "%memollm"]

    def executed():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
        NotebookClient(notebook, timeout=DEADLINE, resources={"metadata": {"path": str(tmp_path)}}).execute()
        return [cell.outputs for cell in notebook.cells]

    first, again = executed(), executed()
    assert [outputs[0]["data"]["text/plain"] for outputs in again[2:4]] == [
        outputs[0]["data"]["text/plain"] for outputs in first[2:4]
    ]
    assert len((tmp_path / "paid").read_text().splitlines()) == 3
    assert re.search(r"hits +1\b", again[4][0]["data"]["text/plain"])
    assert "lane <code>text-" in again[4][0]["data"]["text/html"]
