"""What a request says of how it is drawn: the headers `x-memollm-…`, and those of HTTP that mean the same."""

from __future__ import annotations

import difflib
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import memollm
from memollm.proxy.refusals import Declined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm.proxy.settings import ProxySettings

    Headers = Sequence[tuple[bytes, bytes]]

PREFIX: Final = b"x-memollm-"
CONTROLS: Final = ("namespace", "run", "mode", "lane", "pool", "ttl", "budget")
TOKEN: Final = PREFIX + b"token"
LONGEST: Final = 500
"""Characters of a value."""
AGE: Final = re.compile(r"max-age\s*=\s*\"?(\d{1,10})\"?")


class Controls(NamedTuple):
    """How one request is drawn; None where it does not say."""

    namespace: str | None = None
    run: str | None = None
    mode: str | None = None
    lane: str | None = None
    pool: int | None = None
    ttl: str | float | None = None
    budget: tuple[tuple[str, Any], ...] | None = None

    def over(self, settings: ProxySettings) -> Controls:
        """Return what holds: what the server was started with where the request says nothing."""
        reads = self.namespace is not None or self.run is not None
        return self._replace(
            namespace=self.namespace if reads else settings.namespace,
            mode=self.mode or settings.mode,
            pool=self.pool or settings.pool,
            ttl=settings.ttl if self.ttl is None else self.ttl,
        )

    @property
    def reader(self) -> str:
        """Who reads, for what is counted by reader."""
        if self.namespace is not None:
            return f"namespace {self.namespace}"
        return "the server's own run" if self.run is None else f"run {self.run}"

    def blocks(self) -> ExitStack:
        """Open what this says for a block."""
        with ExitStack() as stack:
            if self.run is not None:
                stack.enter_context(memollm.run(self.run))
            if self.namespace is not None:
                stack.enter_context(memollm.namespace(self.namespace))
            if self.mode is not None:
                stack.enter_context(memollm.mode(self.mode))
            for lane in () if self.lane is None else self.lane.split("/"):
                stack.enter_context(memollm.lane(lane))
            return stack.pop_all()
        raise AssertionError


def controls_of(headers: Headers) -> Controls:
    """Read the headers of a request; whatever is no control, or no value of one, is refused."""
    said: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(PREFIX) and name != TOKEN:
            control = _known(name)
            if control in said:
                raise _bad(control, "it is there twice")
            said[control] = _text(control, value)
    if "namespace" in said and "run" in said:
        raise _bad("run", "a request reads as a namespace or as a run, so give one of the two headers")
    mode, age = cached_as(headers)
    return Controls(
        said.get("namespace"),
        said.get("run"),
        said.get("mode", mode),
        said.get("lane"),
        _pool(said.get("pool")),
        _ttl(said["ttl"]) if "ttl" in said else age,
        _budget(said.get("budget")),
    )


def cached_as(headers: Headers) -> tuple[str | None, float | None]:
    """Return the mode and the time to live that `Cache-Control` means; what it says besides is not for us."""
    said = ",".join(value.decode("latin-1").lower() for name, value in headers if name == b"cache-control")
    words = {word.strip() for word in said.split(",")} if said else set[str]()
    ages = [float(found[1]) for word in words if (found := AGE.fullmatch(word))]
    age = min(ages, default=None)
    anew, unstored = "no-cache" in words or age == 0, "no-store" in words
    if "only-if-cached" in words:
        return "offline", age or None
    mode = "off" if anew and unstored else "refresh" if anew else "readonly" if unstored else None
    return mode, age or None


def _known(name: bytes) -> str:
    control = name[len(PREFIX) :].decode("latin-1")
    if control in CONTROLS:
        return control
    near = difflib.get_close_matches(control, CONTROLS, 1)
    hint = f"did you mean x-memollm-{near[0]}?" if near else f"there are x-memollm-{', -'.join(CONTROLS)}."
    raise Declined(400, "bad_header", f"x-memollm-{control[:50]}: there is no such header; {hint}")


def _text(control: str, value: bytes) -> str:
    try:
        text = value.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise _bad(control, "it must be text in UTF-8") from None
    if not text or len(text) > LONGEST or not text.isprintable():
        raise _bad(control, f"it must be a printable text of 1 to {LONGEST} characters")
    return text


def _pool(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text)):  # noqa: PLR2004 - more is no pool
        raise _bad("pool", f"{text!r} is no whole number from 1 up")
    return int(text)


def _ttl(text: str) -> str | float:
    """Return a time to live: seconds, or as "7d"."""
    try:
        return float(text)
    except ValueError:
        return text


def _budget(text: str | None) -> tuple[tuple[str, Any], ...] | None:
    """Read a text such as "cost=2.50 calls=1000"."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.replace(",", " ").split()]
    said = {name: _number(value) for name, _, value in pairs}
    if not said or {*said} - {"cost", "calls", "unknown"} or len(said) < len(pairs):
        raise _bad("budget", f"{text!r}: say what may be spent, as in cost=2.50 calls=1000, in dollars and calls")
    return tuple(said.items())


def _number(text: str) -> object:
    try:
        return int(text) if text.isdecimal() else float(text.removeprefix("$"))
    except ValueError:
        return text


def _bad(control: str, why: str) -> Declined:
    return Declined(400, "bad_header", f"x-memollm-{control}: {why}.")
