"""A live page in the test itself, without a socket, and a browser's headers."""

from __future__ import annotations

from contextlib import closing, contextmanager

from starlette.testclient import TestClient

from memollm.ui import LivePage

ADDRESS = "http://127.0.0.1:8801"
TOKEN = "a-token-of-the-tests"
KNOWN = {"x-memollm-token": TOKEN}
OWN = {"origin": ADDRESS, "sec-fetch-site": "same-origin", "content-type": "application/json"}


@contextmanager
def visited(cache, **headers):
    """Give a client of the page that knows its token."""
    page = LivePage(cache, place="~/paper/.memollm", show=("memollm", "show"), token=TOKEN)
    with closing(page), closing(client_of(page, **KNOWN, **headers)) as client:
        yield client


def client_of(page, **headers):
    return TestClient(page, base_url=ADDRESS, headers=headers, follow_redirects=False)


def told(response):
    """Return what an answer says."""
    assert response.status_code == 200, response.text
    return response.json()


def refused(response):
    """Return the status of a refusal and the one line that it is."""
    (line,) = response.text.splitlines()
    return response.status_code, line


def wish(client, **wish):
    """Ask for a change as the page does."""
    return client.post("/api/change", json=wish, headers=OWN)


def handed_over(cache):
    """Return a cache of which everything is counted."""
    cache._engine.keeper.hand_over()
    return cache
