"""A real Chromium without a window, driven over a pipe in its own protocol: clicks, keys, and what the page did.

Every wait has a deadline; nothing sleeps.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
DEADLINE = 30.0
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
KEYS = {"/": (191, "/"), "Enter": (13, "\r"), "Tab": (9, ""), " ": (32, " ")}


CONTRASTS = """
(() => {
  const seen = (text) => text.match(/[\\d.]+/g).map(Number);
  const painter = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = (colour) => {
    painter.clearRect(0, 0, 1, 1);
    painter.fillStyle = colour;
    painter.fillRect(0, 0, 1, 1);
    return [...painter.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => colour.slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = painted(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const found = {};
  for (const element of document.querySelectorAll("body *")) {
    const has = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!has || !element.checkVisibility() || element.closest("script")) continue;
    const style = getComputedStyle(element);
    const colour = painted(element.closest("svg") ? style.fill : style.color);
    const [high, low] = [light(colour), light(ground(element))].sort((a, b) => b - a);
    const name = `${element.tagName} ${element.className.baseVal ?? element.className}`;
    found[name] = Math.min(found[name] ?? 21, (high + 0.05) / (low + 0.05));
  }
  return found;
})()
"""
"""How much each kind of text differs in light from what is behind it."""
SIDEWAYS = """
[...document.querySelectorAll("html, body, body *")]
  .filter((e) => e.checkVisibility() && !e.closest(".unseen"))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5
    || (e.scrollWidth > e.clientWidth + 1 && !["visible", "clip"].includes(getComputedStyle(e).overflowX)))
  .map((e) => `${e.tagName}.${e.className}#${e.id}`)
"""
"""What is wider than the screen."""


def installed():
    """Return the path of a Chromium, if this machine has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser process with an empty profile of its own."""

    def __init__(self, path, profile):
        orders_in, self._orders = _high_pipe()
        self._reports, reports_out = _high_pipe()
        # Chromium refuses its sandbox to root.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._pid = os.posix_spawn(
            path,
            [path, *FLAGS, *sandbox, f"--user-data-dir={profile}", "about:blank"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, orders_in, 3),
                (os.POSIX_SPAWN_DUP2, reports_out, 4),
                *((os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)),
            ],
            setpgroup=0,
        )
        os.close(orders_in)
        os.close(reports_out)
        self._said = 0
        self._unread = b""
        self.events = []

    def ask(self, method, session=None, **values):
        """Give an order and return its result; what happens meanwhile is kept in `events`."""
        self._said += 1
        order = {"id": self._said, "method": method, "params": values} | ({"sessionId": session} if session else {})
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        deadline = time.monotonic() + DEADLINE
        while True:
            message = self._read(deadline, method)
            if message.get("id") == self._said:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self.events.append(message)

    def _read(self, deadline, method):
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._reports], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"The browser did not answer {method} within {DEADLINE} s; last it said {self.events[-3:]}"
            piece = os.read(self._reports, 1 << 20)
            assert piece, f"The browser ended while it was asked for {method}"
            self._unread += piece
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)

    def open(self, url, *, width=1280, height=900, phone=False):
        """Open a page in a tab of its own and wait until it is loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        # The answer comes when the page has begun, and the script in it waits for the rest.
        page.ask("Page.navigate", url=url)
        page.wait("document.readyState === 'complete'")
        return page

    def close(self):
        """End the browser, and the processes that it started if they do not end with it."""
        with contextlib.suppress(AssertionError, OSError):
            self.ask("Browser.close")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._orders)
        os.close(self._reports)


class Page:
    """A tab."""

    def __init__(self, browser, session):
        self._browser = browser
        self._session = session

    def ask(self, method, **values):
        return self._browser.ask(method, self._session, **values)

    def evaluate(self, expression):
        """Return the value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition):
        """Wait until a condition holds in the page."""
        self.evaluate(
            f"new Promise(done => {{ const look = () => ({condition}) ? done() : setTimeout(look, 5); look() }})"
        )

    def texts(self, selector):
        """Return the texts of the elements that are shown."""
        return self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})].filter(e => e.checkVisibility())"
            ".map(e => e.innerText.trim())"
        )

    def click(self, selector, nth=0):
        """Click an element with the mouse, where it stands."""
        box = self.evaluate(
            f"(() => {{ const e = [...document.querySelectorAll({json.dumps(selector)})]"
            f".filter(e => e.checkVisibility())[{nth}];"
            "e.scrollIntoView({block: 'center'}); const r = e.getClientRects()[0];"
            "return [r.x + Math.min(r.width / 2, 40), r.y + r.height / 2] })()"
        )
        place = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, **place)

    def type(self, text):
        """Type into what has the focus."""
        for letter in text:
            self.ask("Input.dispatchKeyEvent", type="keyDown", text=letter, key=letter)
            self.ask("Input.dispatchKeyEvent", type="keyUp", key=letter)

    def press(self, key):
        """Press a key by its name."""
        code, text = KEYS[key]
        values = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **values, **({"text": text} if text else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", **values)

    def prefer(self, **features):
        """Say what the reader's system prefers, as in a media query: `color_scheme="dark"`."""
        wanted = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.ask("Emulation.setEmulatedMedia", features=wanted)

    def picture(self):
        """Return a screenshot as base64 text of a PNG."""
        return self.ask("Page.captureScreenshot", format="png")["data"]

    def happened(self, method):
        """Return what the page has reported of a kind so far."""
        self.evaluate("1")
        return [
            event["params"]
            for event in self._browser.events
            if event.get("method") == method and event.get("sessionId") == self._session
        ]


def _high_pipe():
    """Make a pipe whose ends are not the numbers that the browser's are to have."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high
