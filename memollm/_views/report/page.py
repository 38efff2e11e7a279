"""A report as one HTML file that needs nothing else: no network, no other file, no code but its own.

What users wrote is data: it stands in a JSON block that no browser runs, and the script puts it into the page as text
only. The policy in the page's head lets just this style and this script work, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from memollm._views.report.data import Report

MARK: Final = '<meta name="generator" content="memollm report">'
"""By which a file is known as a report; it stands near the beginning."""
HERE: Final = "memollm._views.report"
COMMON: Final = ("text.js", "table.js", "chart.js", "overview.js", "call.js", "drawn.js")
"""What reports and live pages are made of."""
SCRIPTS: Final = (*COMMON, "calls.js", "start.js")
"""The page's one script, in its order."""
POLICY: Final = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data:; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing may be fetched or sent, and no text can become markup where the browser knows trusted types."""


def page(report: Report) -> str:
    """Write a report as HTML."""
    style, script = part("report.css"), "".join(map(part, SCRIPTS))
    return Template(part("report.html")).substitute(
        mark=MARK,
        policy=policy(style, script),
        style=style,
        overview=part("overview.html"),
        data=_data(report),
        script=script,
    )


def policy(style: str, script: str) -> str:
    """Return the policy that lets one style and one script work."""
    return POLICY.format(script=_hash(script), style=_hash(style))


def _data(report: Report) -> str:
    """Write the data as JSON that cannot end the element that it stands in."""
    return msgspec.json.encode(report).replace(b"<", b"\\u003c").decode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def part(name: str, package: str = HERE) -> str:
    """Read a part of a page."""
    return files(package).joinpath(name).read_text(encoding="utf-8")
