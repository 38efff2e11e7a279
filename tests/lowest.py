"""Print, as constraints for pip, the lowest version that pyproject.toml allows of each package that memollm needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OURS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cli"], *PROJECT["optional-dependencies"]["zstd"]]

for requirement in OURS:
    name, lowest = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
    print(f"{name}=={lowest}")
