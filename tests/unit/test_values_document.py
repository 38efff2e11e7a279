"""What docs/values.md shows is true."""

import re
import sqlite3
from pathlib import Path

import numpy as np
from stored_types import Plain, Verdict

from memollm._values.codec import Codec
from memollm._values.schema import schema_of
from memollm._values.signing import Signer

DOCUMENT = (Path(__file__).parents[2] / "docs" / "values.md").read_text(encoding="utf-8")
SCHEMA = (Path(__file__).parents[2] / "memollm" / "stores" / "sqlite" / "schema.sql").read_text(encoding="utf-8")
CODEC = Codec(signer=Signer(b"k" * 32))


def test_the_shown_record_is_a_record():
    """The example record decodes to what it shows."""
    record = re.search(r"^    (J1:.*)$", DOCUMENT, re.MULTILINE)[1].encode()
    assert record == CODEC.encode(CODEC.decode(record))


def test_the_view_shows_what_is_stored():
    """The documented view, which every cache file has, makes records readable in any SQLite browser."""
    values = [{"a": "é"}, ("b", 1), Verdict(label="yes"), np.zeros(2, "u1"), Plain(1), "long " * 5_000]
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE TABLE sample (call INTEGER, slot INTEGER, stored REAL, record BLOB)")
        rows = [(1, slot, 0.0, CODEC.encode(value)) for slot, value in enumerate(values)]
        database.executemany("INSERT INTO sample (call, slot, stored, record) VALUES (?, ?, ?, ?)", rows)
        database.execute(re.search(r"^CREATE VIEW answer .*?;", SCHEMA, re.DOTALL | re.MULTILINE)[0])
        documented = database.execute(re.search(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)[1])
        shown = [text for _, _, _, text in sorted(documented)]
    finally:
        database.close()
    assert shown[:4] == [
        '{"a":"é"}',
        '{"$":"tuple","v":["b",1]}',
        f'{{"$":"pydantic","c":"stored_types:Verdict","v":{{"label":"yes"}},"s":"{schema_of(Verdict)}"}}',
        '{"$":"array","d":"|u1","s":[2],"n":2}',
    ]
    assert all(re.fullmatch(r"\(\d+ bytes\)", text) for text in shown[4:])
