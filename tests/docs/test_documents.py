"""What the documents show is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import memollm

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])


def test_the_demo_runs(project):
    """The first command of the README: nothing repeats, and a rerun pays for nothing."""
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stderr == ""
    assert "samples repeated within baseline: 0" in result.stdout
    assert result.stdout.count("paid 0 calls; drew 9 samples, 9 of them distinct") == 2


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    """No document points at a file that is not there."""
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not leads_somewhere(document, link)] == []


def leads_somewhere(document, link):
    """Tell whether a file is there, and a heading in it."""
    path, _, anchor = link.partition("#")
    file = document.parent / path if path else document
    if not anchor:
        return file.exists()
    headings = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), flags=re.MULTILINE) if file.exists() else []
    return anchor in [re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings]


def test_reliability_names_tests_that_are_there():
    """Each promise is defended by a test that names it, and what chaos has found by one of that name."""
    document = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \*\*(P\d+) .*", document, flags=re.MULTILINE)
    assert rows == [f"P{number}" for number in range(1, 15)]
    for row in re.findall(r"^\| \*\*P\d+ .*", document, flags=re.MULTILINE):
        texts = [
            (ROOT / "docs" / link).read_text(encoding="utf-8") for link in re.findall(r"\((\.\./tests/[^)]+)\)", row)
        ]
        assert any(re.search(rf"\b{row[4:].split()[0]}\b", text) for text in texts), row
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", document) if f"def {name}(" not in tests] == []


def test_every_option_is_documented():
    """The table of options names each one."""
    from memollm._calls.options import OPTIONS

    documented = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert [option for option in OPTIONS if f"`{option}`" not in documented] == []


def test_every_public_name_exists():
    """What is exported can be imported."""
    assert [name for name in memollm.__all__ if not hasattr(memollm, name)] == []


def test_paths_for_contributors_are_there():
    """Whoever wants to add something is led to files that exist."""
    document = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:memollm|tests|docs|tools)/[\w./]+)`", document)
    assert len(paths) > 20
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


def test_the_version_is_said_alike():
    """The citation, the package and its metadata are of one version."""
    citation = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), flags=re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation[1] == memollm.__version__ == project["version"]
