"""The live page as a process and in a real browser: it is searched, compared and read, and changes nothing unasked."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest
from report_cache import HOSTILE, call_of, fill, store_samples

import memollm
from memollm import Cache

if sys.platform == "win32":
    pytest.skip("the browser's pipes are handed over as POSIX does", allow_module_level=True)

from browser import CONTRASTS, SIDEWAYS, Browser, installed

COMMAND = [sys.executable, "-m", "memollm"]


@contextmanager
def served(place, *options):
    """Serve from a shell, and give the process and the address that it writes."""
    command = [*COMMAND, "--cache", str(place), "ui", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_the_server_ends_when_it_is_told_to(tmp_path):
    """Ctrl-C ends it with a line and no trace, and nowhere does it write the token but in the address itself."""
    with Cache(tmp_path / "cache") as cache:
        store_samples(cache, call_of("f", prompt="x"), "y")
    with served(tmp_path / "cache") as (process, address):
        base, _, token = address.partition("/?token=")
        assert base.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=base, verify=False) as client:
            assert client.get("/").status_code == 403
            assert client.get("/", params={"token": token}).headers["location"] == "/"
            assert client.get("/api/overview?wait=true").json()["report"]["samples"] == 1
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, token in err, "Traceback" in err) == ("", False, False)
    assert "Ctrl-C ends it." in err


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Make a cache with a history, two namespaces, and texts that try to break out."""
    folder = tmp_path_factory.mktemp("ui") / "cache"
    with fill(Cache(folder)) as cache:
        ask = cache.cached_llm(name="paper:ask", version=1)(lambda prompt, model: f"{prompt} {model}")
        for namespace, model in (("one", "a"), ("other", "b")):
            with memollm.namespace(namespace):
                ask.draw(2, f"Is {HOSTILE[2]} bold?", model)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Start one browser for all of these tests."""
    running = Browser(installed(), tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@contextmanager
def opened(browser, address, **options):
    """Open the page, and afterwards see that it neither complained nor asked anybody else."""
    tab = browser.open(address, **options)
    yield tab
    problems = [
        *tab.happened("Runtime.exceptionThrown"),
        *tab.happened("Runtime.consoleAPICalled"),
        *tab.happened("Log.entryAdded"),
        *tab.happened("Page.javascriptDialogOpening"),
    ]
    assert problems == []
    asked = [event["request"] for event in tab.happened("Network.requestWillBeSent")]
    base = address.partition("/?")[0]
    assert {each["url"][: len(base)] for each in asked if not each["url"].startswith("data:")} == {base}
    assert {each["headers"].get("Referer", "") for each in asked} == {""}


def shows(tab, selector, text):
    """Wait until something shown has a text."""
    tab.wait(
        f"[...document.querySelectorAll({selector!r})].some(e => e.checkVisibility() && e.innerText.includes({text!r}))"
    )


needs_a_browser = pytest.mark.skipif(
    installed() is None, reason="no Chromium is installed (Debian: apt install chromium)"
)


@needs_a_browser
def test_it_is_searched_read_and_changed_in_a_browser(browser, place):
    """By the keyboard: words are found, a call is read, and it is forgotten only when that is agreed to."""
    with served(place) as (_, address), opened(browser, address) as tab:
        shows(tab, "#state", "Live")
        assert tab.evaluate("location.href").endswith("/")
        assert tab.texts("#sums .figure")[:2] == ["$60.00", "1 h 3 min"]
        tab.wait("document.querySelectorAll('#charts svg').length == 2")
        tab.press("/")
        tab.wait("document.activeElement.id === 'filter'")
        tab.type("grade essay")
        shows(tab, "#found", "1 of 64 calls")
        tab.press("Enter")
        shows(tab, "#reading h1", "paper:grade")
        assert tab.texts("#reading .beside pre") == ["good", '{"grade": 2, "why": "long"}', "good"]
        assert tab.texts("#reading .same") == ["same text as 0"]
        tab.click("#reading .grave")
        shows(tab, "#foreseen-sentence", "Forget 1 call with 3 samples")
        assert tab.evaluate("document.activeElement.id") == "leave"
        tab.press("Enter")
        tab.wait("!document.getElementById('foreseen').open")
        assert "Calls" in tab.texts("#views [aria-current]")
        tab.click("#reading .grave")
        shows(tab, "#agree", "Forget")
        with Cache(place) as cache:
            assert cache.holds().calls == 64
        tab.click("#agree")
        shows(tab, "#foreseen-sentence", "3 samples forgotten.")
        tab.press("Enter")
        shows(tab, "#found", "0 of 63 calls")
    with Cache(place) as cache:
        assert cache.holds().calls == 63


@needs_a_browser
def test_it_can_be_read_by_everybody(browser, place):
    """On a phone nothing is wider than the screen, in the dark every text can be read, and hostile text is text."""
    with served(place) as (_, address), opened(browser, address, width=375, height=720, phone=True) as tab:
        tab.prefer(color_scheme="dark", reduced_motion="reduce")
        shows(tab, "#namespaces th", HOSTILE[0])
        contrasts, sideways = {}, []
        for view, there in (
            ("", "#sums .figure"),
            ("#calls", "#calls tbody a"),
            ("#compare/one/other", "#pairs article"),
            ("#why", "#why-form button"),
            ("#upkeep", "#versions p"),
            ("#namespace/one", "#reading article"),
        ):
            tab.evaluate(f"location.hash = {view!r}")
            tab.wait(f"document.querySelector({there!r})?.checkVisibility()")
            contrasts |= tab.evaluate(CONTRASTS)
            sideways += tab.evaluate(SIDEWAYS)
        assert sideways == []
        assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}
        assert HOSTILE[2] in "".join(tab.texts("#reading article pre"))
        assert tab.evaluate("document.scripts.length") == 1
        assert tab.evaluate("document.querySelectorAll('img, iframe, svg[onload], a[href^=javascript]').length") == 0
