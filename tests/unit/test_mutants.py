"""The script that changes the package on purpose: which changes it makes of a source."""

from __future__ import annotations

import ast

import mutants

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
    made = [change.words(PYTHON) for change in mutants.python_changes(PYTHON)]
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
    for change in mutants.python_changes(PYTHON):
        changed = change.apply(PYTHON)
        ast.parse(changed)
        assert changed.startswith(PYTHON[: change.start])
        assert changed.endswith(PYTHON[change.end :])


def test_changes_of_sql_keep_the_parameters():
    sql = b"-- WHERE a = b.\nSELECT x\nFROM t WHERE a = ? AND b < ?2 AND NOT EXISTS (SELECT 1) ORDER BY b LIMIT 1;"
    assert [(change.line(sql), change.words(sql)) for change in mutants.sql_changes(sql)] == [
        (3, "WHERE a = ?  =>  WHERE (a = ? OR 1)"),
        (3, "AND b < ?2  =>  AND (b < ?2 OR 1)"),
        (3, "<  =>  <="),
        (3, "NOT EXISTS  =>  EXISTS"),
        (3, "ORDER BY b  =>  (nothing)"),
    ]


def test_the_tests_of_the_innermost_folder_belong_to_a_file():
    assert "tests/faults/test_forks.py" in mutants.tests_of("memollm/stores/sqlite/drawing.sql")
    assert "tests/faults/test_forks.py" not in mutants.tests_of("memollm/stores/memory/store.py")


def test_every_test_of_the_table_is_there():
    tests = [mutants.ROOT / "tests" / path for paths in mutants.TESTS.values() for path in paths.split()]
    assert [path for path in tests if not path.exists()] == []
