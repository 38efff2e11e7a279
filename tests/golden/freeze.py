"""Freeze the golden keys, after a change of the key format that was meant and counted."""

import json
import subprocess
import sys
from pathlib import Path

import golden_values as values

from memollm._keys.keyer import hash_of

here = Path(__file__).parent
calls = {name: {"form": form, "key": hash_of(form).hex()} for name, form in values.forms().items()}
program = subprocess.run(
    [sys.executable, here / "golden_program.py", "main"], capture_output=True, text=True, check=True
)
frozen = {"calls": calls, "program": program.stdout.strip()}
(here / "keys.json").write_text(json.dumps(frozen, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
