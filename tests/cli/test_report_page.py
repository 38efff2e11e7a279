"""The report's page in a real browser: it sorts, filters, shows samples beside each other, and runs nothing foreign."""

from __future__ import annotations

import sys

import pytest
from report_cache import HOSTILE, NOON, fill, fill_large

from memollm import Cache
from memollm._views.report import collect, page

if sys.platform == "win32":
    pytest.skip("the browser's pipes are handed over as POSIX does", allow_module_level=True)

from browser import CONTRASTS, SIDEWAYS, Browser, installed

pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium is installed (Debian: apt install chromium)")

SUMMARIES = "#calls tbody th"
SMALLEST = """
(() => {
  const shown = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility());
  const sizes = shown("main *").map((e) => parseFloat(getComputedStyle(e).fontSize));
  return [Math.min(...shown("tbody th, tbody td").map((e) => e.clientWidth)), Math.min(...sizes)];
})()
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Make the report of a cache with a history."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with fill(Cache("memory:")) as cache:
        path.write_bytes(page(collect(cache, place="~/paper/.memollm", made=NOON, show=("memollm", "show"))).encode())
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Start one browser for all of these tests."""
    running = Browser(installed(), tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture
def opened(browser, file):
    """Open the page, and afterwards see that it neither complained nor asked for anything."""
    pages = []

    def open_(**options):
        pages.append(browser.open(file.as_uri(), **options))
        return pages[-1]

    yield open_
    for each in pages:
        problems = [
            *each.happened("Runtime.exceptionThrown"),
            *each.happened("Runtime.consoleAPICalled"),
            *each.happened("Log.entryAdded"),
            *each.happened("Page.javascriptDialogOpening"),
        ]
        assert problems == []
        asked = {event["request"]["url"].partition("#")[0] for event in each.happened("Network.requestWillBeSent")}
        assert {url for url in asked if not url.startswith("data:")} == {file.as_uri()}


def read(tab, text):
    """Open the call whose summary contains a text."""
    tab.evaluate("document.getElementById('filter').focus()")
    tab.type(text)
    tab.click("#calls tbody a")
    tab.wait("!document.getElementById('reading').hidden")


def test_it_opens_from_a_file_and_shows_what_was_saved(opened):
    """The first look tells money and time saved, the hit rate, and both over days."""
    tab = opened()
    assert tab.texts("#sums .figure")[:4] == ["$60.00", "1 h 3 min", "64.1%", "121"]
    assert len(tab.texts("#charts figure")) == 2
    # A chart is drawn once the browser has told how wide it is.
    tab.wait("document.querySelectorAll('#charts svg').length == 2")
    assert tab.evaluate("document.querySelectorAll('#charts figure:first-child rect.saved').length") == 30
    assert tab.evaluate("document.querySelector('#charts svg').getAttribute('aria-label')") == (
        "Money: $60.00 saved, $39.00 spent."
    )


def test_a_header_sorts_both_ways(opened):
    """A click sorts by a column, the next one turns it round, and assistive technology is told."""
    tab = opened()
    assert tab.texts("#calls tbody td[data-label=Cost]")[:3] == ["$90.00", "$15.00", "$2.36"]
    tab.click("#calls thead button", 2)
    assert tab.texts("#calls tbody td[data-label=Cost]")[:3] == ["$0.00", "$0.02", "$0.04"]
    assert tab.evaluate("document.querySelector('#calls [aria-sort]').ariaSort") == "ascending"
    tab.click("#calls thead button", 2)
    assert tab.texts("#calls tbody td[data-label=Cost]")[:2] == ["$90.00", "$15.00"]
    assert tab.evaluate("[...document.querySelectorAll('#calls [aria-sort]')].map(e => e.ariaSort)") == ["descending"]


def test_the_keyboard_sorts(opened):
    """Headers are buttons: they take the focus, and Enter and Space press them."""
    tab = opened()
    tab.evaluate("document.querySelector('#functions thead button').focus()")
    tab.press("Tab")
    tab.press("Enter")
    assert tab.texts("#functions td[data-label=Draws]") == ["300", "120", "1", "0"]
    tab.press(" ")
    assert tab.texts("#functions td[data-label=Draws]") == ["0", "1", "120", "300"]


def test_typing_filters(opened):
    """Words are looked for in arguments, samples and keys, all of them, and the count is told."""
    tab = opened()
    tab.click("#filter")
    tab.type("because 17.1")
    assert tab.texts("#found") == ["1 of the 62 calls in this page"]
    assert "Question 17: why?" in tab.texts(SUMMARIES)[0]


def test_a_function_narrows_the_calls(opened):
    """A click on a function shows its calls."""
    tab = opened()
    tab.evaluate("document.querySelectorAll('#functions tbody button').forEach(b => b.id = b.textContent)")
    tab.click("[id='paper:grade']")
    assert tab.texts("#found") == ["1 of the 62 calls in this page"]
    assert tab.evaluate("document.getElementById('function').value") == "paper:grade"


def test_more_calls_are_shown_on_demand(opened):
    """A long table begins short, and its rest is a click away."""
    tab = opened()
    assert len(tab.texts(SUMMARIES)) == 50
    tab.click("#calls .more")
    assert len(tab.texts(SUMMARIES)) == 62
    assert tab.texts("#calls .more") == []


def test_a_call_shows_its_samples_beside_each_other(opened):
    """Samples stand side by side under the arguments, say which are the same, and the way back is the browser's."""
    tab = opened()
    read(tab, "grade essay")
    assert tab.texts("#reading h1") == ["paper:grade"]
    assert tab.texts("#reading .beside pre") == ["good", '{"grade": 2, "why": "long"}', "good"]
    assert tab.texts("#reading .same") == ["same text as 0"]
    assert tab.texts("#reading .parts h3") == ["messages[1] user"]
    assert tab.texts("#reading .parts dd") == ["Be brief."]
    tops, lefts = tab.evaluate(
        "(() => { const at = [...document.querySelectorAll('.beside article')].map(e => e.getBoundingClientRect());"
        "return [at.map(r => r.top), at.map(r => r.left)] })()"
    )
    assert len(set(tops)) == 1
    assert lefts == sorted(set(lefts))
    assert tab.evaluate("document.activeElement.tagName") == "H1"
    tab.evaluate("history.back()")
    tab.wait("!document.getElementById('overview').hidden")
    assert tab.texts("#reading") == []


def test_the_next_call_is_a_click_away(opened):
    """Calls are read in the order of the table."""
    tab = opened()
    tab.click("#calls tbody a", 1)
    tab.wait("!document.getElementById('reading').hidden")
    tab.click("#reading nav a", 2)
    tab.wait("document.querySelector('#reading h1').textContent === 'paper:solve'")
    assert "Question 59: why?" in tab.texts("#reading .parts dd")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(scheme, opened):
    """In light and in dark, each text has a contrast of at least 4.5 to what is behind it."""
    tab = opened()
    # A colour on its way to another is neither.
    tab.prefer(color_scheme=scheme, reduced_motion="reduce")
    tab.evaluate("document.getElementById('days-details').open = true")
    backgrounds = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    overview = tab.evaluate(CONTRASTS)
    read(tab, "grade essay")
    reading = tab.evaluate(CONTRASTS)
    assert {"H1 unseen", "DD figure", "text ", "BUTTON as-link", "CODE "} <= {*overview, *reading}
    assert {name: ratio for name, ratio in [*overview.items(), *reading.items()] if ratio < 4.5} == {}
    assert backgrounds == {"light": "rgb(250, 249, 246)", "dark": "rgb(20, 23, 26)"}[scheme]


def test_nothing_moves_for_who_prefers_that(opened):
    """With reduced motion no style changes by and by."""
    tab = opened()
    lasting = (
        "[...document.querySelectorAll('*')].filter(e => parseFloat(getComputedStyle(e).transitionDuration)).length"
    )
    assert tab.evaluate(lasting) > 0
    tab.prefer(reduced_motion="reduce")
    assert tab.evaluate(lasting) == 0


def test_it_can_be_printed(opened):
    """On paper it is light, and what can only be clicked is gone."""
    tab = opened()
    tab.ask("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.texts("#theme, #filter, .more, summary") == []
    assert len(tab.texts("#calls tbody tr")) == 50


def test_the_theme_can_be_chosen(opened):
    """The button goes round from the system's preference to light and dark."""
    tab = opened()
    tab.prefer(color_scheme="light")
    seen = []
    for _ in range(3):
        tab.click("#theme")
        seen.append((*tab.texts("#theme"), tab.evaluate("getComputedStyle(document.body).backgroundColor")))
    assert seen == [
        ("Theme: light", "rgb(250, 249, 246)"),
        ("Theme: dark", "rgb(20, 23, 26)"),
        ("Theme: auto", "rgb(250, 249, 246)"),
    ]


def test_it_can_be_read_on_a_phone(opened):
    """At 375 pixels nothing is wider than the screen, no cell is squeezed and no letter tiny, in either view."""
    tab = opened(width=375, height=720, phone=True)
    tab.evaluate("document.getElementById('days-details').open = true")
    assert tab.evaluate("innerWidth") == 375
    assert tab.evaluate(SIDEWAYS) == []
    narrowest, smallest = tab.evaluate(SMALLEST)
    assert narrowest >= 80
    assert smallest >= 11
    for call in ("script onerror", "grade essay"):
        tab.evaluate("location.hash = ''; document.getElementById('filter').value = ''")
        tab.wait("!document.getElementById('overview').hidden")
        read(tab, call)
        assert tab.evaluate(SIDEWAYS) == []


def test_hostile_text_is_text(opened):
    """What looks like markup or code in prompts, samples and names is shown as it is, and nothing of it runs."""
    tab = opened()
    assert HOSTILE[0] in tab.texts("#functions tbody th")
    assert HOSTILE[0] in tab.texts("#namespaces tbody th")
    read(tab, "onerror")
    assert tab.texts("#reading h1") == [HOSTILE[0]]
    shown = tab.evaluate("[...document.querySelectorAll('.beside pre')].map(e => e.textContent)")
    assert shown[:6] == list(HOSTILE[:6])
    assert shown[6] == HOSTILE[6].replace("\ud800", "\\ud800")
    assert tab.evaluate("document.scripts.length") == 2
    assert tab.evaluate("document.querySelectorAll('img, iframe, svg[onload], a[href^=javascript]').length") == 0


def test_the_policy_forbids_the_network_and_foreign_code(browser, file):
    """Even code that got into the page could neither fetch nor add a script."""
    tab = browser.open(file.as_uri())
    fetched = "fetch('https://example.org/').then(() => 'sent', () => 'refused')"
    assert tab.evaluate(fetched) == "refused"
    tab.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://example.org/pixel.png'}))")
    assert (
        tab.evaluate("(() => { try { document.body.innerHTML = '<b>'; return 'parsed' } catch { return 'no' } })()")
        == "no"
    )
    tab.wait("performance.now() > 0")
    violated = [entry["entry"]["text"] for entry in tab.happened("Log.entryAdded")]
    assert any("connect-src" in text or "default-src" in text for text in violated)
    assert any("img-src" in text for text in violated)


def test_a_hundred_thousand_samples_still_open(browser, tmp_path):
    """The page of a large cache weighs no more than a browser opens at once, and is searched as quickly."""
    file = tmp_path / "large.html"
    with Cache("memory:") as cache:
        fill_large(cache, calls=10_000, samples=10)
        html = page(collect(cache, place="large", made=NOON, show=("memollm", "show")))
    file.write_bytes(html.encode())
    assert len(html.encode()) < 10_000_000
    tab = browser.open(file.as_uri())
    assert tab.texts("#sums .figure")[-1] == "100,000"
    assert tab.texts("#found") == ["1,000 of the 1,000 calls in this page, which cost most of 10,000"]
    assert "9,000 calls that cost less than the 1,000 above; --calls takes more." in tab.texts("#left-out li")
    assert tab.texts("#rest code")[-2:] == ["memollm ls --sort cost", "memollm show KEY"]
    tab.click("#filter")
    tab.type("question9999")
    assert tab.texts("#found") == ["1 of the 1,000 calls in this page, which cost most of 10,000"]
