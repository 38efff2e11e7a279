"""Who is let in, what is refused with one clear line, and that no key is ever written."""

from __future__ import annotations

import json
import logging
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
from served import CHAT, PLAIN, Served, body_of, chat, error, said, source

import memollm
from memollm.proxy.refusals import refused_by
from memollm.testing import FakeProvider

TOKEN = "a-token-that-nobody-guesses"
MARK = "sk-ant-MARK0123456789abcdefMARK"
OTHER = "sk-proj-OTHER9876543210zyxwvuOTHER"


def sent(proxy, *lines, content=b"", ends=True):
    """Send lines as they are, by a bare socket, and return the whole answer."""
    url = urlsplit(proxy.url)
    head = "\r\n".join([*lines, *([f"content-length: {len(content)}"] if ends else []), "", ""]).encode("latin-1")
    with socket.create_connection((url.hostname, url.port), timeout=60) as line:
        line.sendall(head + content)
        came = b""
        # Who is refused in the middle of sending may be cut off before the answer is here.
        with suppress(ConnectionError):
            while piece := line.recv(65536):
                came += piece
    return came.decode("latin-1")


def own(proxy):
    return f"host: {urlsplit(proxy.url).netloc}"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"origin": "https://evil.example"}, "bad_origin"),
        ({"origin": "null"}, "bad_origin"),
        ({"origin": "http://127.0.0.1:1"}, "bad_origin"),
        ({"sec-fetch-site": "cross-site"}, "bad_origin"),
        ({"host": "evil.example"}, "bad_host"),
        ({"host": "127.0.0.1.evil.example:80"}, "bad_host"),
        ({"host": ""}, "bad_host"),
    ],
)
def test_pages_of_others_are_not_answered(client, provider, headers, code):
    """A page whose script posts here, or whose name leads here, is refused, and nothing is asked."""
    asked = len(provider.requests)
    answer = chat(client, "a page", headers=headers)
    assert error(answer)[0] == 403
    assert answer.json()["error"]["code"] == code
    assert client.get("/health", headers=headers).status_code == 403
    assert len(provider.requests) == asked


def test_own_names_are_answered(proxy, client, provider):
    """A machine has several names for itself, and its own pages are no others'."""
    port = urlsplit(proxy.url).port
    for host in (f"localhost:{port}", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert client.get("/v1/models", headers={"host": host}).status_code == 200
    assert client.get("/health", headers={"origin": proxy.url, "sec-fetch-site": "same-origin"}).text == "ok\n"
    with Served(provider, hosts=("Box.example",)) as named, httpx.Client(base_url=named.url, verify=PLAIN) as other:
        assert other.get("/health", headers={"host": "box.example:1"}).status_code == 200
        assert other.get("/health", headers={"host": "other.example"}).status_code == 403


def test_a_token_is_insisted_on(provider):
    """Where there is one, nothing but its health is told without it; it is not sent on, and any name will do."""
    with Served(provider, host="0.0.0.0", token=TOKEN) as proxy:
        url = proxy.url.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {provider.key}"}, verify=PLAIN) as client:
            assert client.get("/health", headers={"host": "box.example"}).status_code == 200
            for given in ({}, {"x-memollm-token": "a-token-that-somebody-guessed"}, {"x-memollm-token": "ä".encode()}):
                assert error(chat(client, "token", headers=given))[0] == 401
                assert client.get("/metrics", headers=given).status_code == 401
            answer = chat(client, "token", headers={"x-memollm-token": TOKEN, "host": "box.example"})
            assert answer.status_code == 200
            assert "x-memollm-token" not in provider.requests[-1].headers
            assert client.get("/metrics", headers={"x-memollm-token": TOKEN}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/%2E./chat/completions",
        "/./v1/models",
        "/v1/models/..%2f..%2fadmin",
        "/v1\\..\\admin",
        "/v1/%5c..%5cadmin",
        "/v1/%00",
        "/v1/a%0d%0ax-evil:%201",
        "http://evil.example/v1/models",
        "*",
    ],
)
def test_paths_that_lead_elsewhere_are_refused(proxy, provider, path):
    """Traversal and addresses of others are 400 or 404, and nobody is asked."""
    asked = len(provider.requests)
    answer = sent(proxy, f"GET {path} HTTP/1.1", own(proxy), "connection: close")
    assert answer.split(" ")[1] in {"400", "404"}, answer
    assert len(provider.requests) == asked


@pytest.mark.parametrize("line", ["CONNECT /v1/models", "GET http://127.0.0.1/v1/models", f"POST {CHAT}%0d%0aX:1"])
def test_what_is_no_question_is_refused_as_the_provider_would(proxy, provider, line):
    """A tunnel, a whole address and a line's end in a path are one clear line in the form of the provider's errors."""
    asked = len(provider.requests)
    answer = sent(proxy, f"{line} HTTP/1.1", own(proxy), "connection: close")
    status, body = int(answer.split(" ")[1]), answer.partition("\r\n\r\n")[2]
    assert status in {400, 405}
    assert json.loads(body)["error"]["code"] in {"bad_path", "no_tunnel"}
    assert len(provider.requests) == asked


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (httpx.DecodingError("broken"), "upstream_unreadable"),
        (memollm.WrongNumber("_ask_several_async was asked for 3"), "wrong_number"),
    ],
)
def test_what_an_upstream_did_is_told_in_its_own_terms(failure, code):
    """An answer that cannot be read, or of another number of choices, is the upstream's failure."""
    refused = refused_by(failure, says_all=True)
    assert (refused.status, refused.code, "_ask" in str(refused)) == (502, code, False)


def test_headers_cannot_be_smuggled_in(proxy, provider):
    """What is no header ends the request; what pretends to be two requests is one at most."""
    asked = len(provider.requests)
    for lines in (
        ["GET /v1/models HTTP/1.1", own(proxy), "x-evil: a\rb: c"],
        ["GET /v1/models HTTP/1.1", own(proxy), "x evil: a"],
        ["GET /v1/models HTTP/1.1", own(proxy), "content-length: 5", "content-length: 6"],
        ["GET /v1/models\tHTTP/1.1", own(proxy)],
        ["GET /v1/models HTTP/1.1", own(proxy), "x-long: " + "x" * 100_000],
        ["GET /v1/models HTTP/1.1"],
    ):
        answer = sent(proxy, *lines, "connection: close", ends=False)
        assert answer == "" or answer.split(" ")[1] in {"400", "431"}
    assert len(provider.requests) == asked
    both = sent(
        proxy,
        f"POST {CHAT} HTTP/1.1",
        own(proxy),
        "content-type: application/json",
        "transfer-encoding: chunked",
        "connection: close",
        content=b"0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\n\r\n",
    )
    assert "smuggled" not in both
    assert "/v1/smuggled" not in [each.path for each in provider.requests]


def test_large_and_broken_bodies(provider):
    """What is larger than the limit is not read, said or unsaid; what is no JSON passes through as it is."""
    with Served(provider, max_body=10_000) as proxy:
        headers = {"authorization": f"Bearer {provider.key}"}
        with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN) as client:
            asked = len(provider.requests)
            large = error(chat(client, "x" * 10_000))
            assert large[0] == 413
            assert "10,000 bytes" in large[1]
            answer = client.post(CHAT, content=iter([b"x" * 6_000] * 2), headers={"content-type": "application/json"})
            assert answer.status_code == 413
            assert len(provider.requests) == asked
            deep = b'{"model": "m", "messages": ' + b"[" * 400 + b"]" * 400 + b"}"
            for content in (b"{", b"[1]", b'{"model": 1e999', b"\xff\xfe", deep, b""):
                told = client.post(CHAT, content=content, headers={"content-type": "application/json"})
                assert source(told) in {None, "refused"}
                assert told.status_code in {200, 400}


def test_no_more_requests_at_once_than_allowed(provider):
    """One more is told to come again."""
    with Served(provider, max_requests=1) as proxy:
        headers = {"authorization": f"Bearer {provider.key}"}
        with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN) as client:
            body = {"model": "m", "messages": [], "stream": True}
            with provider.held(after=1), client.stream("POST", CHAT, json=body) as stream:
                refused = chat(client, "one more")
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert error(refused)[1].startswith("Too many requests")
                stream.close()
            assert chat(client, "one more").status_code in {200, 503}


def test_upstreams_that_are_silent_or_not_there(provider):
    """They are errors of a gateway, which SDKs try again; nothing is stored."""
    with Served(provider, upstream_timeout=0.05) as proxy:
        headers = {"authorization": f"Bearer {provider.key}"}
        with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN) as client, provider.held():
            assert error(chat(client, "silent"))[0] == 504
            assert error(client.get("/v1/models"))[0] == 504
    with (
        Served(provider, "http://127.0.0.1:9/v1") as proxy,
        httpx.Client(base_url=proxy.url, verify=PLAIN) as client,
    ):
        status, message = error(chat(client, "nobody"))
        assert status == 502
        assert message.startswith("The upstream cannot be reached")


def test_callers_are_told_apart_where_asked(tmp_path):
    """With `--per-key` who has another key has other samples, and is told nothing of what others ask."""
    with FakeProvider(key=None) as provider, Served(provider, per_key=True, cache=str(tmp_path / "cache")) as proxy:
        client = httpx.Client(base_url=proxy.url, verify=PLAIN, headers={"x-memollm-run": "a"})
        with client:
            one, other = {"authorization": f"Bearer {MARK}"}, {"x-api-key": OTHER}
            first = chat(client, "a private word", headers=one)
            for key in (other, {"x-goog-api-key": OTHER}, {"cookie": OTHER}):
                assert source(chat(client, "a private word", headers=key)) == "paid"
            for key in ("key=a", "key=b", "api-key=a"):
                assert source(client.post(f"{CHAT}?{key}", json=body_of("a private word"))) == "paid"
            again = chat(client, "a private word", headers={**one, "x-memollm-run": "b"})
            assert (said(again), source(again)) == (said(first), "hit")
            missed = chat(client, "another word", headers={**other, "x-memollm-mode": "offline"})
            assert error(missed)[0] == 424
            assert "private" not in missed.text
            assert provider.requests[0].headers["authorization"] == f"Bearer {MARK}"
            assert "x-memollm-caller" not in provider.requests[0].headers


def test_no_key_is_written_anywhere(tmp_path, caplog, capfd):
    """A key goes to the upstream, and to no file, no log and no answer."""
    caplog.set_level(logging.DEBUG)
    cache = tmp_path / "cache"
    with FakeProvider(key=None) as provider:
        for per_key in (False, True):
            with Served(provider, per_key=per_key, cache=str(cache), token=OTHER) as proxy:
                headers = {"authorization": f"Bearer {MARK}", "api-key": MARK, "x-memollm-token": OTHER}
                with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN) as client:
                    told = [chat(client, "hi"), chat(client, "ho", headers={"x-memollm-mode": "offline"})]
                    told += [client.get(f"/v1/models?key={MARK}"), client.get("/metrics"), client.get("/v1/..")]
                    told += [client.post(f"{CHAT}?api_key={MARK}", json={"model": "m", "messages": []})]
                    provider.cut()
                    told += [chat(client, "cut")]
        assert MARK in json.dumps([each.headers for each in provider.requests])
    for mark in (MARK, OTHER):
        assert not [each for each in told if mark in each.text or mark in str(each.headers)]
        # What the client of the test says of itself is not the proxy's.
        assert not [each for each in caplog.records if mark in each.getMessage() and each.name != "httpx"]
        assert mark not in "".join(capfd.readouterr())
        written = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert written
        assert not [file for file in written if mark.encode() in file.read_bytes()]
