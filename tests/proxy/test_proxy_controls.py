"""How a request says by headers who reads, and how; and what is said to who says it wrongly."""

from __future__ import annotations

import httpx
import pytest
from served import PLAIN, STREAM, Served, chat, error, said, source

from memollm.errors import OptionError
from memollm.proxy.controls import cached_as
from memollm.proxy.settings import settings_of


def by(**controls):
    return {f"x-memollm-{name}": value for name, value in controls.items()}


@pytest.fixture
def plain(proxy, provider):
    """Ask without saying who reads."""
    headers = {"authorization": f"Bearer {provider.key}"}
    with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN, timeout=60) as made:
        yield made


def test_a_namespace_goes_on_where_it_was(plain):
    """It is one reader for whoever names it, and another one begins at the start."""
    first, second = (chat(plain, "namespaces", headers=by(namespace="exp-1")) for _ in range(2))
    assert [each.headers["x-memollm-slot"] for each in (first, second)] == ["0", "1"]
    assert said(chat(plain, "namespaces", headers=by(namespace="exp-2 ä".encode()))) == said(first)
    # Who names nobody reads as the server's own run.
    assert [said(chat(plain, "namespaces")) for _ in range(2)] == [said(first), said(second)]


def test_a_pool_of_one_is_plain_caching(plain, provider):
    """The same answer every time, whoever reads."""
    before = provider.calls
    answers = [chat(plain, "pool", headers=by(pool="1", namespace=name)) for name in "aab"]
    assert len({said(answer)[0] for answer in answers}) == 1
    assert provider.calls == before + 1


def test_modes(plain, provider):
    """Offline asks nobody, readonly keeps nothing, refresh replaces, off neither reads nor keeps."""
    missed = chat(plain, "modes", headers=by(mode="offline", run="a"))
    assert error(missed)[0] == 424
    assert missed.json()["error"]["code"] == "cache_miss"
    unkept = chat(plain, "modes", headers=by(mode="readonly", run="a"))
    assert (source(unkept), "x-memollm-slot" in unkept.headers) == ("paid", False)
    kept = chat(plain, "modes", headers=by(run="b"))
    assert said(kept) != said(unkept)
    assert said(chat(plain, "modes", headers=by(mode="offline", run="c"))) == said(kept)
    fresh = chat(plain, "modes", headers=by(mode="refresh", run="d"))
    assert source(fresh) == "paid"
    assert said(chat(plain, "modes", headers=by(run="e"))) == said(fresh)
    off = chat(plain, "modes", headers=by(mode="off", run="f"))
    assert (source(off), "x-memollm-slot" in off.headers) == ("paid", False)
    assert said(chat(plain, "modes", headers=by(run="g"))) == said(fresh)
    asked = len(provider.requests)
    assert "nobody is asked" in error(plain.get("/v1/models", headers=by(mode="offline")))[1]
    assert len(provider.requests) == asked


def test_what_is_missed_is_told_with_the_difference(plain):
    """The body of a miss names the nearest stored call, and what differs."""
    chat(plain, "a capital", temperature=0.5)
    status, message = error(chat(plain, "a capital", headers=by(mode="offline"), temperature=0.7))
    assert status == 424
    assert "body.temperature: 0.7 here, 0.5 stored" in message
    streamed = chat(plain, "a capital", headers=by(mode="offline"), temperature=0.9, **STREAM)
    assert (error(streamed)[0], streamed.headers["x-should-retry"]) == (424, "false")


def test_cache_control_means_what_it_says(plain):
    """`no-cache` asks anew, `no-store` keeps nothing, both do both, and `max-age` is how old an answer may be."""
    kept = chat(plain, "http", headers=by(run="a"))
    hit = chat(plain, "http", headers={**by(run="b"), "cache-control": "no-store, max-age=3600, unheard-of=1"})
    assert (said(hit), source(hit)) == (said(kept), "hit")
    anew = chat(plain, "http", headers={**by(run="c"), "cache-control": "no-cache"})
    assert source(anew) == "paid"
    assert said(chat(plain, "http", headers=by(run="d"))) == said(anew)
    chat(plain, "http", headers={**by(run="e"), "cache-control": "no-cache, no-store"})
    assert said(chat(plain, "http", headers=by(run="f"))) == said(anew)
    # What is said outright goes before.
    missed = chat(plain, "new", headers={**by(run="g", mode="offline"), "cache-control": "no-cache"})
    assert missed.status_code == 424


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", (None, None)),
        ("No-Cache", ("refresh", None)),
        ("max-age=0", ("refresh", None)),
        ("max-age=60", (None, 60.0)),
        ("no-store", ("readonly", None)),
        ("no-cache, no-store, max-age=0", ("off", None)),
        ("only-if-cached, max-age=5", ("offline", 5.0)),
        ("no-transform, max-stale=5, max-age=x", (None, None)),
        ('no-cache="field"', (None, None)),
    ],
)
def test_the_words_of_cache_control(said, meant):
    """Each word has its meaning here, and what has none is left to others."""
    assert cached_as([(b"cache-control", said.encode())] if said else []) == meant


def test_lanes_keep_their_own_order(plain):
    """Each lane of a namespace is given its own samples again by a replaying run."""
    first = {lane: said(chat(plain, "lanes", headers=by(namespace="l", lane=lane))) for lane in ("x/y", "z")}
    assert len({*map(tuple, first.values())}) == 2
    resumed = by(namespace="l", mode="resume")
    again = {lane: said(chat(plain, "lanes", headers={**resumed, **by(lane=lane)})) for lane in ("z", "x/y")}
    assert again == first


def test_a_budget_is_its_readers(plain, provider):
    """What a reader has spent stands as long as the server runs; each request says the limit, and hits are free."""
    for prompt in ("one", "two"):
        assert chat(plain, prompt, headers=by(namespace="poor", budget="calls=2")).status_code == 200
    asked = len(provider.requests)
    status, message = error(chat(plain, "three", headers=by(namespace="poor", budget="calls=2")))
    assert (status, len(provider.requests)) == (402, asked)
    assert "2 of 2 calls" in message
    assert chat(plain, "three", headers=by(namespace="rich", budget="calls=2")).status_code == 200
    # What is stored costs nothing, and a limit can be raised.
    assert chat(plain, "three", headers=by(namespace="poor", budget="calls=2")).status_code == 200
    assert chat(plain, "four", headers=by(namespace="poor", budget="calls=3")).status_code == 200
    assert error(chat(plain, "five", headers=by(namespace="poor", budget="calls=3")))[0] == 402
    # Nobody knows what this model costs, so dollars cannot be limited.
    chat(plain, "six", headers=by(namespace="dollars", budget="cost=1"))
    assert error(chat(plain, "seven", headers=by(namespace="dollars", budget="cost=1")))[0] == 402


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (by(namespce="x"), "did you mean x-memollm-namespace?"),
        (by(colour="x"), "there are x-memollm-namespace, -run"),
        (by(caller="somebody"), "there is no such header"),
        (by(namespace=""), "printable text"),
        (by(namespace="x" * 501), "1 to 500 characters"),
        (by(namespace=b"\xff"), "UTF-8"),
        (by(namespace="a\u202eb".encode()), "printable text"),
        (by(namespace="a", run="b"), "give one of the two"),
        ([("x-memollm-run", "a"), ("X-Memollm-Run", "b")], "it is there twice"),
        (by(mode="online"), "mode='online'"),
        (by(pool="0"), "whole number from 1 up"),
        (by(pool="-1"), "whole number from 1 up"),
        (by(ttl="soon"), "is no length of time"),
        (by(ttl="nan"), "is no length of time"),
        (by(lane="a//b"), "lane=''"),
        (by(budget="much"), "cost=2.50 calls=1000"),
        (by(budget="calls=-1"), "calls=-1"),
        (by(budget="cost=nan"), "cost=nan"),
        (by(budget="calls=1 calls=2"), "cost=2.50 calls=1000"),
    ],
)
def test_what_cannot_be_meant_is_refused(plain, provider, headers, told):
    """A header that says nothing is answered with 400 and one line, and nobody is asked."""
    asked = len(provider.requests)
    answer = chat(plain, "x", headers=headers)
    status, message = error(answer)
    assert (status, message.count("\n")) == (400, 0)
    assert told in message
    assert len(provider.requests) == asked


def test_the_server_says_what_requests_do_not(provider, tmp_path):
    """Its options hold where a request says nothing else."""
    with Served(provider, namespace="ours", pool=2, ttl="7d") as proxy:
        headers = {"authorization": f"Bearer {provider.key}"}
        with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN) as client:
            slots = [chat(client, "pooled").headers["x-memollm-slot"] for _ in range(3)]
            assert slots == ["0", "1", "0"]
            assert chat(client, "pooled", headers=by(namespace="a")).headers["x-memollm-slot"] == "0"
            assert chat(client, "pooled", headers=by(run="a")).headers["x-memollm-slot"] == "0"
            assert chat(client, "new", headers=by(mode="offline")).status_code == 424


@pytest.mark.parametrize(
    ("upstreams", "options", "told"),
    [
        ([], {}, "needs an upstream"),
        (["ftp://x"], {}, "it must be an address"),
        (["https://user:secret@x/v1"], {}, "//…@x"),
        (["https://x?key=1"], {}, "it must be an address"),
        (["/=https://x"], {}, "how paths begin"),
        (["a b=https://x"], {}, "how paths begin"),
        (["https://x", "https://y"], {}, "for everything"),
        (["gpt=https://x", "gpt=https://y"], {}, "for gpt"),
        (["https://x"], {"host": "0.0.0.0"}, "give a token"),
        (["https://x"], {"token": "short"}, "16 printable characters"),
        (["https://x"], {"mode": "on"}, "mode='on'"),
        (["https://x"], {"namespace": ""}, "namespace=''"),
        (["https://x"], {"ttl": "soon"}, "no length of time"),
        (["https://x"], {"workers": 2, "cache": "memory:"}, "one on disk"),
        (["https://x"], {"max_body": 0}, "above 0"),
        (["https://x"], {"on_disconnect": "wait"}, "'stop' or 'finish'"),
    ],
)
def test_what_a_server_cannot_be_started_with(upstreams, options, told):
    """What contradicts itself is said before anything is served."""
    with pytest.raises(OptionError, match=told.replace("(", r"\(")):
        settings_of(upstreams, **options)
