"""Who is let in to the live page, and what every answer says to a browser."""

from __future__ import annotations

from contextlib import closing

import pytest
from visiting import ADDRESS, KNOWN, OWN, TOKEN, client_of, refused, told, visited

from memollm.ui import LivePage
from memollm.ui.guards import WITHOUT

FOLLOWED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.fixture
def stranger(filled):
    """Ask as somebody who does not know the token."""
    with closing(LivePage(filled, place="here", show=(), token=TOKEN)) as page, closing(client_of(page)) as made:
        yield made


def test_without_the_token_nobody_is_answered(stranger):
    """The page, its data, changes and what is not there: 403 and one line that says what to do."""
    for path in ("/", "/api/overview", "/api/calls?text=x", "/api/nothing", "/favicon.ico", "/../etc/passwd"):
        assert refused(stranger.get(path)) == (403, WITHOUT)
    assert refused(stranger.post("/api/change", json={"change": "prune", "max_samples": "0"}, headers=OWN)) == (
        403,
        WITHOUT,
    )
    for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "é"):
        assert stranger.get("/api/overview", headers={"x-memollm-token": wrong.encode()}).status_code == 403
        assert stranger.get("/", params={"token": wrong}).status_code == 403
    assert "given" not in stranger.cookies


def test_the_token_is_traded_for_a_cookie(stranger):
    """A browser that opens the address is sent to one without the token, and is known from then on."""
    opened = stranger.get("/", params={"token": TOKEN})
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"]
    assert cookie.startswith("memollm-ui-8801=")
    assert "; HttpOnly; SameSite=Lax" in cookie
    assert TOKEN not in cookie
    page = stranger.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert TOKEN not in page.text
    assert told(stranger.get("/api/overview?wait=true"))["report"]["calls"] == 62
    assert refused(stranger.get("/", headers={"cookie": "memollm-ui-8801=wrong"})) == (403, WITHOUT)
    assert refused(stranger.get("/", headers={"cookie": b"\x00=;;\xff"})) == (403, WITHOUT)


@pytest.mark.parametrize("beside", ['prefs={"a":1}', "x[0]=1", "a", "=x", 't="unclosed', "é=ü", "memollm-ui-8802=x"])
def test_cookies_of_other_programs_are_passed_over(beside, stranger):
    """Programs on other ports of this machine share a browser's cookies, in whatever way they write them."""
    cookie = stranger.get("/", params={"token": TOKEN}).headers["set-cookie"].partition(";")[0]
    for header in (f"{beside}; {cookie}", f"{cookie}; {beside}"):
        assert stranger.get("/api/now", headers={"cookie": header.encode()}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8801", "127.0.0.1.evil.example", "10.0.0.1:8801", ""])
def test_another_name_is_refused(host, client):
    """A page whose name was made to lead here (DNS rebinding) reads nothing, whatever else it knows."""
    status, line = refused(client.get("/api/overview", headers={"host": host}))
    assert (status, "answers as 127.0.0.1 or localhost alone" in line) == (403, True)
    assert client.get("/", params={"token": TOKEN}, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8801", "127.0.0.1:9000", "[::1]:8801", "LOCALHOST", "a.localhost"])
def test_names_of_this_machine_are_known(host, client):
    """Also through a tunnel of another port."""
    assert client.get("/api/now", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        FOLLOWED,
    ],
    ids=str,
)
def test_a_page_of_another_origin_is_refused(foreign, client):
    """It neither reads nor posts, even if the browser adds what the user's own page would send."""
    assert client.get("/api/overview", headers=foreign).status_code == 403
    posted = client.post("/api/change", json={"change": "prune", "max_samples": "0"}, headers=foreign)
    assert refused(posted)[0] == 403


def test_a_link_on_another_page_may_be_followed(stranger):
    """The address works where it is written in a web page; a frame of another page does not."""
    opened = stranger.get("/", params={"token": TOKEN}, headers=FOLLOWED)
    assert opened.status_code == 303
    assert stranger.get("/", headers=FOLLOWED).status_code == 200
    assert stranger.get("/", headers={**FOLLOWED, "sec-fetch-dest": "iframe"}).status_code == 403
    assert stranger.post("/", headers={**FOLLOWED, "origin": "https://evil.example"}).status_code == 403


def test_a_form_cannot_change_anything(client, filled):
    """What a form can say is refused before it is read."""
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""):
        posted = client.post(
            "/api/change", content=b'{"change": "prune", "max_samples": "0"}', headers={"content-type": kind}
        )
        assert refused(posted)[0] == 415
    assert client.get("/api/change", params={"change": "prune", "max_samples": "0"}).status_code == 405
    assert filled.holds().calls == 62


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"[]", 400), (b"{", 400), (b"[" * 100_000, 400), (b"\xff", 400), (b"x" * 4_000_001, 413)],
    ids=["nothing", "list", "begun", "deep", "no text", "huge"],
)
def test_a_body_that_is_none_is_refused_in_one_line(body, status, client):
    """Whatever is sent, nothing breaks."""
    assert refused(client.post("/api/change", content=body, headers=OWN))[0] == status


def test_every_answer_is_kept_from_others(client):
    """Answers are not cached, framed, sniffed or told of by Referer; the page's policy runs its own code alone."""
    page = client.get("/")
    for answer in (page, client.get("/api/now"), client.get("/", headers={"x-memollm-token": "wrong"})):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.endswith("connect-src 'self'; frame-ancestors 'none'")
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert len(page.content) < 90_000
    assert "http" not in page.text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_a_server_of_another_start_is_not_meant(filled):
    """Each start has a token and a cookie of its own."""
    with closing(LivePage(filled, place="here", show=())) as page, visited(filled) as other:
        assert len(page.gate.token) >= 40
        assert client_of(page, **KNOWN).get("/").status_code == 403
        cookie = page.gate.cookie("127.0.0.1:8801").partition(";")[0]
        assert other.get("/", headers={"cookie": cookie, "x-memollm-token": "x"}).status_code == 403
    assert ADDRESS.endswith("8801")
