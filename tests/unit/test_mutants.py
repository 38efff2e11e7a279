"""The script that changes the package on purpose: which changes it makes of a source."""

from __future__ import annotations

import ast
import gzip

import mutants
import mutations
import pytest

PYTHON = b'''"""A docstring, 1 < 2."""
if TYPE_CHECKING:
    LIMIT = 1

def f(a: Literal[3], b):
    if not a and b < 4:
        raise ValueError("five", 5)
    warn("six", 6)
    b.close()
    return min(a, b)
'''


def test_each_change_of_python_is_made_alone():
    made = [change.words(PYTHON) for change in mutations.python_changes(PYTHON)]
    assert made == [
        "not a  =>  (a)",
        "not a and b < 4  =>  (not a or b < 4)",
        "not a and b < 4  =>  False",
        "not a and b < 4  =>  True",
        "b < 4  =>  (b <= 4)",
        "b < 4  =>  (b >= 4)",
        "4  =>  5",
        "b.close()  =>  pass",
        "min  =>  max",
        "min(a, b)  =>  None",
    ]


def test_what_is_changed_is_still_python_and_the_rest_is_kept():
    for change in mutations.python_changes(PYTHON):
        changed = change.apply(PYTHON)
        ast.parse(changed)
        assert changed.startswith(PYTHON[: change.start])
        assert changed.endswith(PYTHON[change.end :])


def test_changes_of_sql_keep_the_parameters():
    sql = b"-- WHERE a = b.\nSELECT x\nFROM t WHERE a = ? AND b < ?2 AND NOT EXISTS (SELECT 1) ORDER BY b LIMIT 1;"
    assert [(change.line(sql), change.words(sql)) for change in mutations.sql_changes(sql)] == [
        (3, "WHERE a = ?  =>  WHERE (a = ? OR 1)"),
        (3, "AND b < ?2  =>  AND (b < ?2 OR 1)"),
        (3, "<  =>  <="),
        (3, "NOT EXISTS  =>  EXISTS"),
        (3, "ORDER BY b  =>  (nothing)"),
    ]


@pytest.mark.parametrize(
    ("text", "first", "lines"),
    [
        ("a", 2, [2, 3]),  # A statement of two lines.
        ("b", 3, [2, 3]),
        ("c", 4, [4]),  # The head of a block, without the block.
        ("d", 5, [5]),
    ],
)
def test_a_change_is_noticed_by_who_runs_its_statement(text, first, lines):
    """Any line of it will do, as an interpreter may name only one."""
    source = b"def f(a, b, c, d):\n    g(not a,\n      not b)\n    if not c:\n        not d\n"
    (change,) = (change for change in mutations.python_changes(source) if change.new == f"({text})".encode())
    assert change.line(source) == first
    assert [*mutations.lines_around("f.py", source, change)] == lines


def test_what_stands_in_no_function_is_run_at_import():
    """All tests that use its file may notice it: whoever imported it first ran it for all."""
    source = b"LIMIT = 1\n\ndef f(a=2):\n    return 3\n\nclass C:\n    more = 4\n"
    found = {
        change.new: mutations.runs_at_import("f.py", source, change) for change in mutations.python_changes(source)
    }
    assert found == {b"2": True, b"3": True, b"4": False, b"5": True}


def test_a_change_is_found_again_where_it_stands():
    """Equal lines of two functions, or of two statements, are two places."""
    python = b"class C:\n    def f(self):\n        a()\n\n    def g(self):\n        a()\n"
    statements = b"-- name: one  A.\nSELECT 1 WHERE a = 1;\n-- name: two  B.\nSELECT 1 WHERE a = 1;\n"
    assert [mutations.home("c.py", python, change) for change in mutations.python_changes(python)] == ["C.f", "C.g"]
    assert [mutations.home("c.sql", statements, each) for each in mutations.sql_changes(statements)] == ["one", "two"]


def test_notes_are_read_as_the_tests_that_can_notice_a_line(tmp_path):
    """A test that fails or is skipped without any change can notice nothing."""
    notes = tmp_path / "notes.gz"
    text = (
        "> t::slow\na.py:1\n< 2.0 t::slow\n> t::bad\na.py:1\n! t::bad\n< 1.0 t::bad\n"
        "> t::quick\na.py:1\na.py:2\n< 0.5 t::quick\n"
    )
    notes.write_bytes(gzip.compress(text.encode()))
    slow, quick = mutants.Test(2.0, "t::slow"), mutants.Test(0.5, "t::quick")
    assert mutants.read([notes]) == {"a.py:1": {slow, quick}, "a.py:2": {quick}}


def test_what_is_called_equivalent_says_why():
    """A change is left out under the same words by which it was printed, and with a reason."""
    for (where, line, change), why in mutants.equivalent().items():
        assert (mutants.ROOT / where.partition(" ")[0]).exists()
        assert line
        assert "  =>  " in change
        assert why.strip().endswith(".")
