"""Every page does what it shows: its programs run, and print what stands below them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import blocks_of, compare, follow

ROOT = Path(__file__).parents[2]
RUN = re.compile(r"^ *```(?:python|console)\b", flags=re.MULTILINE)
PAGES = [
    page
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    if RUN.search(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_shows(page, project):
    """Whoever follows the page in an empty project sees what it shows, and no block is passed over."""
    assert follow(page, project) >= len(RUN.findall(page.read_text(encoding="utf-8")))


def test_the_readme_is_short():
    """The README is read in some minutes."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("a\nb\n", "a\nb\n"),
        ("a 1.52 s b\n", "a … s b\n"),
        ("a\nmany\nlines\nb\n", "a\n…\nb\n"),
        ("a\nb\n", "a\n…\nb\n"),
        ("a\nmany\nlines\n", "a\n…\n"),
        ("a* (b)\n", "a* (b)\n"),
    ],
)
def test_what_is_shown_may_leave_out(printed, shown):
    """Dots stand for anything in their line, or for any lines where they are alone."""
    compare(printed, shown, "page")


@pytest.mark.parametrize(
    ("printed", "shown"), [("a\n", "b\n"), ("a\nb\n", "a\n"), ("a\n", "a\nb\n"), ("", "a\n"), ("a\nb\n", "…\nc\n")]
)
def test_other_output_is_noticed(printed, shown):
    """A page that shows something else than what is printed fails."""
    with pytest.raises(AssertionError, match=r"page shows"):
        compare(printed, shown, "page")


def test_blocks_are_found_where_they_stand():
    """A block knows its language, its file, its output, and the part that the reader does not see."""
    page = (
        "# A\n\n<!-- python\nx = 1\n-->\n\n- item:\n\n  ```python\n  print(x)\n  ```\n\n```text\n1\n```\n\n"
        '```python title="a.py"\n```\n'
    )
    assert [(each.language, each.title, each.text, each.output, each.line) for each in blocks_of(page)] == [
        ("python", None, "x = 1\n", None, 3),
        ("python", None, "print(x)\n", "1\n", 9),
        ("python", "a.py", "", None, 17),
    ]
