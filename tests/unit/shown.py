"""Programs that show how a function is identified: written into a folder, loaded here or run as a user runs them."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
# Only memollm's own folder is looked into, so that an interpreter without its dependencies can run the program too.
PREAMBLE = f"""
import json, sys, types
if "memollm" not in sys.modules:
    sys.modules["memollm"] = types.ModuleType("memollm")
    sys.modules["memollm"].__path__ = [{str(ROOT / "memollm")!r}]
from memollm._keys.identity import identify

def canonical(value, path):
    def plain(item):
        if type(item) in (list, tuple):
            return [type(item).__name__, *map(plain, item)]
        if type(item) is dict:
            return {{key: plain(each) for key, each in sorted(item.items())}}
        if item is None or type(item) in (str, int, float, bool):
            return item
        raise TypeError(path)
    return json.dumps(plain(value), ensure_ascii=False)

def show(function, **options):
    found = identify(function, canonical=canonical, **options)
    print(json.dumps([found.name, found.version, dict(found.parts), found.lineage]))
"""

_tools: dict = {}
exec(PREAMBLE, _tools)
canonical = _tools["canonical"]


def write(folder, **files):
    """Write `name="text"` as name.py, `pkg__name` as pkg/name.py; a package gets its `__init__`."""
    for name, body in {"tool": PREAMBLE, **files}.items():
        path = folder / (name.replace("__", "/", 1) + ".py")
        if path.parent != folder:
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(body), encoding="utf-8")
    (folder / "pyproject.toml").touch()
    return folder


def run(folder, *command, python=sys.executable, env=None):
    """Run a program that shows one function; give its name, version, parts and lineage."""
    done = subprocess.run(
        [python, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def load(monkeypatch, folder, module):
    """Import a module of a folder as a new process would."""
    for name in [name for name in sys.modules if name.partition(".")[0] in (module.partition(".")[0], "helpers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    return importlib.import_module(module)
