"""All that a cache leaves behind, for tests that look for what must not be in it."""

from __future__ import annotations

import base64
import json
import time
from importlib.util import find_spec


def traces(cache, folder, *said):
    """Close a cache; return every file of its folder by name, with an export, a report, and what was shown and said."""
    cache.export(folder / "export.jsonl")
    shown = [cache.stats(), cache.namespaces(), cache._repr_html_(), cache.holds(), cache, *said]
    left = {"shown": " ".join(map(str, shown)).encode()}
    if find_spec("click") is not None:
        from memollm._views.report import collect, page

        left["report"] = page(collect(cache, place="here", made=time.time(), show=["memollm", "show"])).encode()
    cache.close()
    exported = [json.loads(line) for line in (folder / "export.jsonl").read_text(encoding="utf-8").splitlines()]
    left["exported bytes"] = b" ".join(base64.b64decode(line["base64"]) for line in exported if "base64" in line)
    return left | {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def found(left, *marks):
    """Return which marks stand where."""
    return sorted((mark, name) for name, content in left.items() for mark in marks if mark.encode() in content)
