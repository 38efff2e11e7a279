"""What is left of a round: its logs put together, and its file read with nothing but SQLite."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from contextlib import closing

from .functions import POOLS


def paired(lines, name, begins):
    """Join the line of what began with that of its end."""
    things = {}
    for line in lines:
        if begins(line):
            things[line[name]] = line | {
                "begin": line["at"],
                "end": None,
                "got": [],
                "slots": [],
                "left": False,
                "why": None,
            }
        else:
            things[line[name]] |= {key: value for key, value in line.items() if key not in {"what", "at"}}
            things[line[name]]["end"] = line["at"]
    return list(things.values())


def calls_of(lines):
    calls = {}
    for line in lines:
        if line["what"] == "call":
            calls[line["call"]] = line | {"begin": line["at"], "end": None, "outcome": None}
        else:
            calls[line["call"]] |= {"end": line["at"], "outcome": line["what"]}
    return list(calls.values())


def stored_in(folder):
    """Read what is stored with nothing but SQLite: by kind and prompt each answer's slot, and what is still open."""
    stored = defaultdict(dict)
    with closing(sqlite3.connect(folder / "cache" / "memollm.db")) as connection:
        left = [str(row) for row in connection.execute("PRAGMA integrity_check").fetchall() if row != ("ok",)]
        for kind, form, slot, value in connection.execute(
            "SELECT function, call.form, slot, value FROM answer JOIN call ON call.id = answer.call"
        ):
            (prompt,) = [each for name, each in json.loads(form)["arguments"].items() if name.startswith("prompt")]
            stored[kind, prompt][re.search(r"[0-9a-f]{16}", value)[0]] = slot
        for kind, rows in connection.execute(
            "SELECT function, 'a claim of slot ' || slot FROM claim JOIN call ON call.id = claim.call UNION "
            "SELECT function, 'position ' || position || ' of reader ' || reader FROM loose JOIN call "
            "ON call.id = loose.call WHERE owner IS NOT NULL"
        ):
            if kind not in POOLS:
                left.append(f"{rows} of {kind} was left open")
    for (kind, prompt), slots in stored.items():
        if kind not in POOLS and sorted(slots.values()) != [*range(len(slots))]:
            left.append(f"{kind}({prompt}) has slots {sorted(slots.values())}")
    return stored, left
