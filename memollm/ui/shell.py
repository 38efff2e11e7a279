"""The page itself, which holds no data: the report's overview, style and scripts, and those that ask for more."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING, Final

from memollm._views.report.page import COMMON, part, policy

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE: Final = "memollm.ui.page"
SCRIPTS: Final = ("asking.js", "search.js", "one.js", "comparing.js", "upkeep.js", "live.js")
"""The live page's own scripts, in their order."""
MORE: Final = "; connect-src 'self'; frame-ancestors 'none'"
"""What its policy says besides the report's: it may ask its own server, and stands in no other page."""
ALWAYS: Final[Mapping[str, str]] = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""What every answer says."""


def shell() -> tuple[str, str]:
    """Return the page and its policy."""
    style = part("report.css") + part("live.css", HERE)
    script = "".join([*map(part, COMMON), *(part(name, HERE) for name in SCRIPTS)])
    allowed = policy(style, script)
    html = Template(part("live.html", HERE)).substitute(
        policy=allowed, style=style, overview=part("overview.html"), script=script
    )
    return html, allowed + MORE
