"""The site has every page and every public name. `make docs` builds it; `make deep` looks whether it is complete."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import memollm
from memollm import testing

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.deep


def pages_in(navigation):
    """Return the pages that a part of the navigation leads to."""
    if isinstance(navigation, str):
        return [navigation]
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for part in parts for page in pages_in(part)]


def documented(prefix):
    """Return the names of a package that the reference has."""
    text = "".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").glob("*.md")))
    return set(re.findall(rf"^::: {re.escape(prefix)}\.(\w+)$", text, flags=re.MULTILINE))


def test_the_navigation_has_each_page_once():
    """No page is forgotten, none is gone, none stands twice."""
    navigation = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    assert sorted(pages_in(navigation)) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_reference_has_every_public_name():
    """What can be imported from memollm is documented; `cached_llm` by the class that it is an object of."""
    assert documented("memollm") == set(memollm.__all__) - {"cached_llm"}
    assert documented("memollm._calls.decorator") == {"CachedLlm", "_Methods"}


def test_the_reference_of_testing_has_every_public_name():
    """What can be imported from memollm.testing is documented, but for a constant that is one with its clock."""
    assert documented("memollm.testing") == set(testing.__all__) - {"NOON"}
