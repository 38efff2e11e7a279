"""The proxy as a process: what it says, how it ends, and what a worker that is killed takes with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from served import CHAT, PLAIN, STREAM, Served, body_of, chat, said, source

import memollm
from memollm._serving.listening import listening
from memollm.proxy import metrics
from memollm.stores.looking import looking

COMMAND = [sys.executable, "-m", "memollm"]


@contextmanager
def started(provider, cache, *options):
    """Serve from a shell, and give the process and its address."""
    command = [*COMMAND, "--cache", str(cache), "proxy", "--upstream", provider.openai_url, "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        line = process.stderr.readline()
        assert "kept in" in line, line + process.stderr.read()
        yield process, line.split(" on ")[1].split(",")[0]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def client_of(provider, url, **headers):
    headers = {"authorization": f"Bearer {provider.key}", **headers}
    return httpx.Client(base_url=url, headers=headers, verify=PLAIN, timeout=60)


def test_a_process_ends_when_what_is_under_way_has(provider, tmp_path):
    """SIGTERM lets a request that is under way have its answer, and keeps it; nothing new is let in."""
    asked, answers = len(provider.requests), []
    with started(provider, tmp_path / "cache") as (process, url), client_of(provider, url) as client:
        asking = threading.Thread(target=lambda: answers.append(chat(client, "at the end")))
        with provider.held():
            asking.start()
            provider.wait_for(asked + 1)
            process.send_signal(signal.SIGTERM)
        asking.join()
        assert process.wait(60) == -signal.SIGTERM
    assert source(answers[0]) == "paid"
    with memollm.Cache(tmp_path / "cache") as cache:
        assert sum(item.samples for item in looking(cache.store).inventory()) == 1
        assert cache.stats().total.paid == 1


def workers_of(process):
    """Return the processes that serve, as Linux tells of them."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="children are told of by Linux")
def test_a_killed_worker_takes_no_position_with_it(provider, tmp_path):
    """P1, P3: what it was asking for is open again; other workers go on, of one cache and as one run."""
    asked = len(provider.requests)
    with started(provider, tmp_path / "cache", "--workers", "2") as (process, url), client_of(provider, url) as client:
        first = chat(client, "killed")
        assert first.headers["x-memollm-slot"] == "0"
        failures = []

        def ask():
            with pytest.raises(httpx.TransportError):
                chat(client, "killed")
            failures.append(True)

        asking = threading.Thread(target=ask)
        with provider.held():
            asking.start()
            provider.wait_for(asked + 2)
            for pid in workers_of(process):
                os.kill(pid, signal.SIGKILL)
            asking.join()
        with client_of(provider, url) as again:
            second = chat(again, "killed")
            assert (second.headers["x-memollm-slot"], source(second)) == ("1", "paid")
            assert said(second) == provider.requests[-1].samples
            replayed = [chat(again, "killed", headers={"x-memollm-run": "b"}) for _ in range(2)]
            assert [said(each) for each in replayed] == [said(first), said(second)]
            told = error_of(chat(again, "x", headers={"x-memollm-budget": "calls=1"}))
            assert "--budget, which all share" in told
        streamed = {**body_of("killed in the middle"), **STREAM}
        with (
            provider.held(after=2),
            client_of(provider, url) as reader,
            reader.stream("POST", CHAT, json=streamed) as response,
        ):
            pieces = response.iter_raw()
            assert next(pieces)
            for pid in workers_of(process):
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(httpx.TransportError):
                list(pieces)
        with client_of(provider, url) as again:
            whole = chat(again, "killed in the middle", **STREAM)
            assert (source(whole), whole.text[-14:]) == ("paid", "data: [DONE]\n\n")
            replayed = chat(again, "killed in the middle", **STREAM, headers={"x-memollm-run": "b"})
            assert (replayed.headers["x-memollm-slot"], replayed.text) == ("0", whole.text)
    assert failures == [True]
    assert len(provider.requests) == asked + 5


def test_workers_end_with_their_server(provider, tmp_path):
    """Where the process that has started them is killed, nobody is left to serve on its port."""
    with started(provider, tmp_path / "cache", "--workers", "2") as (process, url):
        with client_of(provider, url) as client:
            assert source(chat(client, "served")) == "paid"
        process.kill()
        process.wait()
        while is_served(url):
            pass


def is_served(url):
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=60).close()
    except ConnectionError:
        return False
    return True


def error_of(response):
    assert response.status_code == 400
    return response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "Missing option '--upstream'"),
        (["--upstream", "x"], "must be an address"),
        (["--upstream", "http://x", "--host", "0.0.0.0"], "give a token"),
        (["--upstream", "http://x", "--host", "192.0.2.1", "--token", "0123456789abcdef"], "cannot be served"),
        (["--upstream", "http://x", "--max-body", "much"], "is no size"),
    ],
)
def test_what_the_command_refuses(options, told, tmp_path, monkeypatch, capsys):
    """It ends with one line before anything is served."""
    from memollm.cli._running import run

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run(["proxy", *options]) == 2
    assert told in capsys.readouterr().err
    assert not [*Path.cwd().iterdir()]


def test_what_is_told_of_the_server(provider):
    """Its health, and in Prometheus' format what it has answered and what the cache has counted."""
    with Served(provider) as proxy, client_of(provider, proxy.url) as client:
        assert (client.get("/health").status_code, client.get("/health").text) == (200, "ok\n")
        for _ in range(2):
            chat(client, "told", headers={"x-memollm-pool": "1"})
        assert chat(client, "told", **STREAM, headers={"x-memollm-mode": "offline"}).status_code == 200
        client.get("/v1/models")
        told = metrics_of(client)
    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = told.text.splitlines()
    worker, of_chats = f'worker="{os.getpid()}"', 'function="chat.completions"'
    for line in (
        f'memollm_proxy_answers_total{{{worker},answer="hit"}} 2',
        f'memollm_proxy_answers_total{{{worker},answer="paid"}} 1',
        f'memollm_proxy_answers_total{{{worker},answer="passed"}} 1',
        f'memollm_draws_total{{{worker},{of_chats},kind="hit"}} 2',
        f'memollm_unpriced_total{{{worker},{of_chats},kind="made"}} 1',
        "memollm_cache_up 1",
        f'memollm_cache_draws_total{{{of_chats},kind="hit"}} 2',
        f"memollm_cache_calls_total{{{of_chats}}} 1",
        f"memollm_cache_unpriced_total{{{of_chats}}} 1",
        "# TYPE memollm_cache_draws_total counter",
    ):
        assert line in lines, told.text


def metrics_of(client):
    """Return what is told when no request is under way: one is over a moment after its answer has come."""
    while f'memollm_proxy_requests{{worker="{os.getpid()}"}} 0' not in (told := client.get("/metrics")).text:
        pass
    return told


@pytest.mark.filterwarnings("ignore::memollm.NotStoredWarning")
def test_what_is_told_while_the_store_is_away(provider, monkeypatch):
    """The worker tells its own counts and that the store does not answer; of the cache it tells no number (P14)."""
    pytest.importorskip("redis")
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    with socket.socket() as nobody:
        # It is bound and does not listen, so whoever connects is refused.
        nobody.bind(("127.0.0.1", 0))
        away = f"redis://127.0.0.1:{nobody.getsockname()[1]}?patience=0"
        with Served(provider, cache=away) as proxy, client_of(provider, proxy.url) as client:
            assert source(chat(client, "while the store is away")) == "paid"
            told = metrics_of(client)
    assert told.status_code == 200
    lines = told.text.splitlines()
    worker = f'worker="{os.getpid()}"'
    assert f'memollm_proxy_answers_total{{{worker},answer="paid"}} 1' in lines
    assert f'memollm_draws_total{{{worker},function="chat.completions",kind="made"}} 1' in lines
    assert [line for line in lines if line.startswith("memollm_cache_")] == ["memollm_cache_up 0"]


def test_a_store_that_says_nothing_keeps_no_scrape_waiting(monkeypatch):
    """Scrapes are told that the cache does not answer as long as it does not, and ask it once together."""
    asked, answers = [], threading.Event()

    class SilentCache:
        def stats(self):
            asked.append(self)
            assert answers.wait(60)
            return ()

    async def scrape():
        counts = metrics.CacheCounts(SilentCache())
        monkeypatch.setattr(metrics, "PROMPT", 0.01)
        assert [await counts.told(), await counts.told()] == [None, None]
        monkeypatch.setattr(metrics, "PROMPT", 60)
        answers.set()
        assert await counts.told() == ()

    asyncio.run(scrape())
    assert len(asked) == 1


def test_figures_of_draws_are_those_of_the_integration():
    """A name that both have counts the same by the same labels; the proxy adds which worker it was."""
    prometheus = pytest.importorskip("prometheus_client")
    parsed = pytest.importorskip("prometheus_client.parser").text_string_to_metric_families
    from memollm.integrations.prometheus import count_draws

    registry, told = prometheus.CollectorRegistry(), metrics.Metrics()
    count = count_draws(registry=registry)
    for kind, cost in (("made", 0.5), ("hit", 0.5), ("shared", None), ("made", 0.25)):
        event = memollm.DrawEvent('a "b"', "00", 0, kind, 1.0, cost, 7, 3, None, None)
        count(event)
        told.given([event])
    theirs = counted(registry.collect())
    ours = counted(parsed(told.text(())))
    assert len(ours) == 12
    assert ours == {name: value for name, value in theirs.items() if name[0].endswith("_total")}


def counted(families):
    """Return the numbers of draws by their names and labels, of whatever worker."""
    return {
        (each.name, *sorted((name, label) for name, label in each.labels.items() if name != "worker")): each.value
        for family in families
        for each in family.samples
        if not each.name.startswith(("memollm_cache_", "memollm_proxy_"))
    }


def test_a_budget_of_the_server_is_all_requests(provider, tmp_path):
    """What `--budget` allows is for all readers together; hits are free."""
    served = Served(provider, budget="calls=1", cache=str(tmp_path / "cache"))
    try:
        with served as proxy, client_of(provider, proxy.url) as client:
            assert chat(client, "all", headers={"x-memollm-run": "a"}).status_code == 200
            assert chat(client, "all", headers={"x-memollm-run": "b"}).status_code == 200
            assert chat(client, "another", headers={"x-memollm-run": "c"}).status_code == 402
    finally:
        memollm.configure(budget=None, cache=None)


def test_parts_of_an_answer_are_sent_at_once():
    """The socket is one of TCP by name, or the second part would wait for the client's word on the first."""
    with listening("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP
