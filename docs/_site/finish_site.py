"""Finishes the site: links that lead out of it become text, and every other link and picture is looked for.

Zensical's strict build looks for pages and anchors. What it leaves alone are pictures, and files beside `docs`, such as
the tests that a page names: they are no part of the site.
"""

from __future__ import annotations

import re
import shutil
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

LINK = re.compile(
    r'<a (?P<before>[^>]*?)href="?(?P<target>[^"\s>]+)"?(?P<after>[^>]*)>(?P<text>.*?)</a>', flags=re.DOTALL
)
SOURCE = re.compile(r'<(?:img|script|link)\b[^>]*?(?:src|href)="?(?P<target>[^"\s>]+)"?')
ELSEWHERE = re.compile(r"^(?:[a-z][a-z+.-]*:|//|#)")


def main(site: Path) -> int:
    """Finish every page, and return how many links lead nowhere."""
    shutil.rmtree(site / Path(__file__).parent.name, ignore_errors=True)  # What makes the site is no part of it.
    missing = 0
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":
            continue
        text = LINK.sub(lambda link, page=page: kept(link, page, site), page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")
        for match in [*LINK.finditer(text), *SOURCE.finditer(text)]:
            target = unescape(match["target"])
            if not ELSEWHERE.match(target) and not leads_somewhere(page, target, site):
                print(f"{page.relative_to(site)}: {target} is not there")
                missing += 1
    return missing


def kept(link: re.Match[str], page: Path, site: Path) -> str:
    """Return a link, or its text alone where it leads out of the site."""
    target = unescape(link["target"])
    if ELSEWHERE.match(target) or destination(page, target, site).is_relative_to(site.resolve()):
        return link[0]
    return link["text"]


def leads_somewhere(page: Path, target: str, site: Path) -> bool:
    """Tell whether a file stands where a link leads."""
    file = destination(page, target, site)
    return file.is_file() or (file / "index.html").is_file()


def destination(page: Path, target: str, site: Path) -> Path:
    """Return the file or folder that a link of a page means."""
    path = unquote(re.split(r"[?#]", target, maxsplit=1)[0])
    return (site / path.lstrip("/") if path.startswith("/") else page.parent / path).resolve()


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1])) else 0)
