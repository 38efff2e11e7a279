"""Clients that leave: what they asked for goes on, or stops, and the next one has the place."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from served import CHAT, PLAIN, STREAM, Served, chat, said, source


@contextmanager
def asked_and_left(proxy, provider, prompt, *, after=b"", **body):
    """Ask by a bare socket, read until something has come, and leave when the block ends."""
    content = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}], **body}).encode()
    url = urlsplit(proxy.url)
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: {url.netloc}\r\nauthorization: Bearer {provider.key}\r\n"
        f"content-type: application/json\r\nx-memollm-namespace: leaving\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection((url.hostname, url.port), timeout=60) as line:
        line.sendall(head.encode() + content)
        came = b""
        while after not in came:
            piece = line.recv(65536)
            assert piece
            came += piece
        yield came


def wait_until(condition, turns=6000):
    """Wait for something that happens in another thread; the test's deadline ends what never does."""
    import threading

    pause = threading.Event()
    for _ in range(turns):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("It never happened.")


@pytest.fixture
def next_one(proxy, provider):
    """Ask as the namespace of whoever has left."""
    headers = {"authorization": f"Bearer {provider.key}", "x-memollm-namespace": "leaving"}
    with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN, timeout=60) as made:
        yield made


def left(proxy):
    return proxy.metrics.answers["left"]


def test_who_leaves_a_whole_answer_leaves_its_request_under_way(proxy, provider, next_one):
    """P13, P3: the answer is made and kept, and the next draw of the namespace is given it."""
    asked, gone = len(provider.requests), left(proxy)
    with provider.held():
        with asked_and_left(proxy, provider, "whole"):
            provider.wait_for(asked + 1)
        wait_until(lambda: left(proxy) == gone + 1)
    answer = chat(next_one, "whole")
    assert answer.headers["x-memollm-slot"] == "0"
    assert said(answer) == provider.requests[asked].samples
    assert source(answer) in {"hit", "shared"}
    assert len(provider.requests) == asked + 1


def test_who_leaves_several_leaves_them_all(proxy, provider, next_one):
    """So it is with `n`: each is kept in its place."""
    asked, gone = len(provider.requests), left(proxy)
    with provider.held():
        with asked_and_left(proxy, provider, "several", n=3):
            provider.wait_for(asked + 1)
        wait_until(lambda: left(proxy) == gone + 1)
    assert said(chat(next_one, "several", n=3)) == provider.requests[asked].samples
    assert len(provider.requests) == asked + 1


def test_who_leaves_a_stream_stops_it(proxy, provider, next_one):
    """Nothing is kept of it, its position is free, and the provider is told, too."""
    asked, gone = len(provider.requests), left(proxy)
    with provider.held(after=2):
        with asked_and_left(proxy, provider, "stream", after=b"data: ", **STREAM):
            provider.wait_for(asked + 1)
        wait_until(lambda: left(proxy) == gone + 1)
    answer = chat(next_one, "stream", **STREAM)
    assert source(answer) == "paid"
    assert len(provider.requests) == asked + 2
    assert not provider.requests[asked].is_whole
    assert chat(next_one, "stream", headers={"x-memollm-namespace": "b"}).headers["x-memollm-slot"] == "0"


def test_streams_can_be_finished(provider):
    """With `--on-disconnect=finish` what was left is read on, kept in its place, and given to the next."""
    with Served(provider, on_disconnect="finish") as proxy:
        asked = len(provider.requests)
        with provider.held(after=2):
            with asked_and_left(proxy, provider, "finish", after=b"data: ", **STREAM):
                provider.wait_for(asked + 1)
            wait_until(lambda: left(proxy) == 1)
        headers = {"authorization": f"Bearer {provider.key}", "x-memollm-namespace": "leaving"}
        with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN, timeout=60) as client:
            answer = chat(client, "finish", **STREAM)
            assert answer.text.endswith("data: [DONE]\n\n")
            whole = chat(client, "finish", headers={"x-memollm-namespace": "b"})
            assert said(whole) == provider.requests[asked].samples
            assert whole.headers["x-memollm-slot"] == "0"
            # Who stays is told event by event, as ever, and what breaks off is not kept.
            provider.cut(after=3)
            with pytest.raises(httpx.RemoteProtocolError):
                chat(client, "broken", **STREAM)
            assert source(chat(client, "broken", **STREAM)) == "paid"
            assert source(chat(client, "broken", **STREAM, headers={"x-memollm-namespace": "b"})) == "hit"
            provider.fail(500)
            assert chat(client, "failing", **STREAM).status_code == 500
        assert len(provider.requests) == asked + 4


def test_the_server_ends_when_what_is_under_way_has(provider):
    """A server that is told to end answers who waits, and waits for what was left."""
    asked = len(provider.requests)
    answers = []
    with provider.held(), Served(provider) as proxy:
        import threading

        def ask():
            headers = {"authorization": f"Bearer {provider.key}"}
            with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN, timeout=60) as client:
                answers.append(chat(client, "at the end"))

        asking = threading.Thread(target=ask)
        asking.start()
        with asked_and_left(proxy, provider, "left at the end"):
            provider.wait_for(asked + 2)
        wait_until(lambda: left(proxy) == 1)
        proxy.server.should_exit = True
        held = provider._held
        threading.Timer(0, lambda: provider._server.tell(held.set)).start()
    asking.join()
    assert source(answers[0]) == "paid"
    assert [each.is_whole for each in provider.requests[asked:]] == [True, True]
