"""Print, as constraints for pip, the lowest version that pyproject.toml allows of each package that memollm needs."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TRIED = sys.argv[1].split(",")
"""The extras."""
OURS = [*PROJECT["dependencies"], *(each for extra in TRIED for each in PROJECT["optional-dependencies"][extra])]

# An extra may need what another one needs.
for requirement in dict.fromkeys(OURS):
    name, lowest = re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement).groups()
    print(f"{name}=={lowest}")
