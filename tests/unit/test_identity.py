"""A function's name and fingerprint (P8, P9): what changes them, what does not, and what is told when they change."""

from __future__ import annotations

import functools
import itertools
import linecache
import os
import shutil
import textwrap
import threading
import types
from pathlib import Path

import pytest

from memollm._keys.canonical import canonical as canonical_of_calls
from memollm._keys.identity import NAME_ONLY, changes, fingerprint, identify
from memollm.errors import MemollmWarning
from tests.unit.shown import canonical, load, run, write

STUDY = """
from tool import show
from lab import prompts
from lab.clean import tidy

def cached_llm(function=None, **options):
    return function or (lambda inner: inner)

LIMIT = 3

@cached_llm(n=5, namespace="a")
def ask(question, *, temperature=0.7):
    words = tidy(question)[:LIMIT]
    return prompts.SYSTEM + f"{words!r:>{LIMIT}}"

if __name__ == "__main__":
    show(ask)
"""
PROMPTS = 'SYSTEM = "You are brief."\nOTHER = "unread"\n'
CLEAN = """
def tidy(text):
    return strip(text) + "!"

def strip(text):
    return text.strip(" .")
"""


def study(folder, **changed):
    folder.mkdir(exist_ok=True)
    return write(folder, **{"study": STUDY, "lab__prompts": PROMPTS, "lab__clean": CLEAN, **changed})


@pytest.fixture
def base(tmp_path):
    return run(study(tmp_path / "base"), "study.py")


FORMATTED = (
    STUDY.replace("(question, *, temperature=0.7)", "(\n    question,\n    *,\n    temperature=0.70,\n)")
    .replace('f"{words!r:>{LIMIT}}"', "f'{words!r:>{LIMIT}}'")
    .replace("prompts.SYSTEM + ", "(prompts.SYSTEM) + (\n        ")
    .replace("{LIMIT}}'", "{LIMIT}}'\n    )")
)
HARMLESS = {
    "comment": STUDY.replace("    words", "    # A remark.\n    words"),
    "docstring": STUDY.replace("    words", '    """Ask."""\n    words'),
    "hints": STUDY.replace("question, *, temperature=0.7)", "question: str, *, temperature: float = 0.7) -> str"),
    "hinted variable": STUDY.replace("    words =", "    words: list[str] ="),
    "formatting": FORMATTED,
    "moved": STUDY.replace("LIMIT = 3", "\n\n# Elsewhere.\ndef unread():\n    return 1\n\nLIMIT = 3"),
    "options": STUDY.replace('n=5, namespace="a"', "pool=1"),
}
EDITS = {
    "prompt": ({"lab__prompts": PROMPTS.replace("brief", "verbose")}, "constant lab.prompts.SYSTEM"),
    "helper": ({"lab__clean": CLEAN.replace('" ."', '" !"')}, "helper lab.clean.strip"),
    "default": ({"study": STUDY.replace("0.7", "0.8")}, "default temperature"),
    "constant": ({"study": STUDY.replace("LIMIT = 3", "LIMIT = 4")}, "constant study.LIMIT"),
    "body": ({"study": STUDY.replace("words!r", "words!s")}, "body"),
}


@pytest.mark.parametrize("edit", HARMLESS)
def test_an_edit_that_means_nothing_changes_nothing(tmp_path, base, edit):
    assert run(study(tmp_path / "edited", study=HARMLESS[edit]), "study.py") == base


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_that_means_something_changes_the_fingerprint_and_just_its_part(tmp_path, base, edit):
    files, label = EDITS[edit]
    edited = run(study(tmp_path / "edited", **files), "study.py")
    assert edited[0] == base[0]
    assert edited[1] != base[1]
    assert [part for part in edited[2] if edited[2][part] != base[2].get(part)] == [label]


def test_a_part_that_is_not_read_does_not_count(tmp_path, base):
    edited = study(tmp_path / "edited", lab__prompts=PROMPTS.replace("unread", "never read"))
    assert run(edited, "study.py") == base


def test_a_file_has_one_name_and_fingerprint_however_it_is_run(tmp_path, base):
    folder = study(
        tmp_path / "ways",
        importing="import study\nfrom tool import show\nshow(study.ask)\n",
        spawning=STUDY.replace(
            "    show(ask)",
            "    import multiprocessing\n    context = multiprocessing.get_context('spawn')\n"
            "    child = context.Process(target=show, args=(ask,))\n    child.start()\n    child.join()",
        ),
    )
    assert run(folder, "importing.py") == run(folder, "-m", "study") == base
    (folder / "study.py").write_text((folder / "spawning.py").read_text())
    assert run(folder, "study.py") == base
    assert run(folder, "-m", "study") == base


def test_a_script_inside_a_package_is_named_as_its_import_is(tmp_path):
    folder = write(tmp_path, lab__study="from tool import show\ndef ask(): return 1\nshow(ask)\n")
    names = [run(folder, *way)[0] for way in (["lab/study.py"], ["-m", "lab.study"], ["-c", "import lab.study"])]
    assert names == ["lab.study.ask"] * 3


def test_a_program_in_a_folder_without_init_has_one_name_however_it_is_run(tmp_path):
    """As a script and by `python -m` it is the same; imported, it is named as the import says."""
    folder = write(tmp_path, lab__study="from tool import show\ndef ask(): return 1\nshow(ask)\n")
    (folder / "lab" / "__init__.py").unlink()
    ways = ["-m", "lab.study"], [str(folder / "lab" / "study.py")]
    assert [run(folder, *way)[0] for way in ways] == ["study.ask", "study.ask"]


@pytest.mark.parametrize("where", ["", "src/", "elsewhere/lib/"])
@pytest.mark.parametrize("program", ["run.py", "scripts/run.py", "ours/run.py"])
def test_other_packages_of_the_user_count_with_their_code(tmp_path, where, program):
    """Whatever is not installed is the user's, wherever it lies: an edit of its prompt is an edit of the function."""
    prints = []
    for style in "ab":
        folder = tmp_path / style
        texts = {"mylab/__init__.py": "", "mylab/prompts.py": f"def style(): return '{style}'\n"}
        for path, text in {where + path: text for path, text in texts.items()}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        write(folder, ours__none="")
        (folder / program).parent.mkdir(exist_ok=True)
        (folder / program).write_text(
            f"import sys\nsys.path[:0] = [{str(folder)!r}, {str(folder / where)!r}]\nfrom tool import show\n"
            "from mylab.prompts import style\ndef ask(): return style()\nshow(ask)\n"
        )
        prints.append(run(folder, str(folder / program)))
    one, other = prints
    assert (one[0], one[1] != other[1]) == (other[0], True)
    assert [part for part in one[2] if one[2][part] != other[2][part]] == ["helper mylab.prompts.style"]


def test_an_installed_package_counts_by_its_names(tmp_path):
    """Where it is not the function's own package, its code differs between versions that answer alike."""
    prints = []
    for style in "ab":
        folder = tmp_path / style
        site = folder / "lib" / "site-packages"
        write(site, theirs__prompts=f"def style(): return '{style}'\n")
        write(folder, study="")
        (folder / "study.py").write_text(
            f"import sys\nsys.path[:0] = [{str(site)!r}]\nfrom tool import show\n"
            "from theirs.prompts import style\ndef ask(): return style()\nshow(ask)\n"
        )
        prints.append(run(folder, "study.py"))
    assert prints[0] == prints[1]


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_the_hash_seed_does_not_matter(tmp_path, seed):
    assert run(write(tmp_path, sink=KITCHEN_SINK), "sink.py", env={"PYTHONHASHSEED": seed})[1] == SINK


KITCHEN_SINK = '''
from tool import show

ASIDE = "\\U0001fae8 caf\\u00e9 \\udc80"

class Base:
    STOP = ("a", 1.5, None)
    async def clean(self, text): return [c async for c in text]

def sink(a, /, b=1, *rest, c: int = 2, **more):
    """Gone."""
    global counter
    counter = 1
    from os.path import join as glue
    x = y = {**more, "k": [i for i in rest if i if not b], 'q': "it's \\"🫨\\""}
    del (x, y)
    with open(a) as f, open(b): pass
    try:
        async def inner(): await glue(a) if (z := a) else (yield)
    except (ValueError, OSError) as e:
        raise KeyError(a) from None
    except BaseException: raise
    else: assert a, "no"
    finally: print(f"{a!r:>{b}} {{}} {c=} " f'{b:.2f}' "tail", f"plain",
            -1, not a, 1e309, 2**70, b"x", ..., a[1:2, ::3])
    while a < b <= c: a += 1; continue
    else: return lambda q, *, r=1: (q, *rest)
    for i, (j, k) in more: break
    match a:
        case [1, *others] | Base(STOP=others) if b: return others
        case {"k": v, **tail}: return a @ b, ~a, a and (b or c)
        case None | "x" as w: return Base.STOP
        case _: return Base().clean(ASIDE), 0xFFFFFFFFFFFFFFFFFFFF, {1, 2}, {k: v for k, v in a}, set(i for i in a)

show(sink)
'''
SINK = "code:1489d6a0db1f34646bc59a648b05dd9b"


def test_every_python_makes_the_same_fingerprint(tmp_path):
    folder = write(tmp_path, sink=KITCHEN_SINK)
    found = {python: run(folder, "sink.py", python=python) for python in pythons()}
    if len(found) < 2:
        pytest.skip("only one supported Python is on this machine")
    assert {each[1] for each in found.values()} == {SINK}
    assert all(each == next(iter(found.values())) for each in found.values())


def pythons():
    """List the supported Pythons of this machine, each once."""
    installed = Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python3")
    known = (shutil.which(f"python3.{minor}") for minor in range(11, 16))
    found = {os.path.realpath(path) for path in (*installed, *filter(None, known)) if "shims" not in str(path)}
    return sorted(found)


def test_the_fingerprint_of_known_parts_is_frozen():
    assert fingerprint({"body": "def f():\n    pass", "constant m.P": '"é"'}) == "97e216205a00bd178f329b4342d3ec23"


# Functions of every make --------------------------------------------------------------------------------------------


def who(function, **options):
    return identify(function, canonical=canonical, **options)


def twins(monkeypatch, tmp_path, text, *edits):
    """Give the module of a text, then the module with each edit made to it."""
    for number, (old, new) in enumerate([("", ""), *edits]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert old in text
        yield load(monkeypatch, write(folder, made=text.replace(old, new)), "made")


STYLES = {
    "again": """
        class Style:
            def go(self, q): return q + "dead"
        class Style:
            def go(self, q): return q + "live"
    """,
    "again with its inner class": """
        class Outer:
            class Style:
                def go(self, q): return q + "dead"
        class Outer:
            class Style:
                def go(self, q): return q + "live"
        Style = Outer.Style
    """,
    "in the first branch": """
        if True:
            class Style:
                def go(self, q): return q + "live"
        else:
            class Style:
                def go(self, q): return q + "other"
    """,
    "in the last branch": """
        if False:
            class Style:
                def go(self, q): return q + "other"
        else:
            class Style:
                def go(self, q): return q + "live"
    """,
    "before a branch that is not taken": """
        class Style:
            def go(self, q): return q + "live"
        if False:
            class Style:
                def go(self, q): return q + "other"
    """,
    "after a branch": """
        if True:
            class Style:
                def go(self, q): return q + "dead"
        class Style:
            def go(self, q): return q + "live"
    """,
}


@pytest.mark.parametrize("defined", STYLES)
def test_of_a_class_that_is_defined_twice_the_one_in_force_counts(tmp_path, monkeypatch, defined):
    """P8: an edit of the class that runs is noticed wherever another of its name stands; of a dead one none is."""
    text = textwrap.dedent(STYLES[defined]) + "\ndef ask(q): return Style().go(q)\n"
    edits = [("live", "edited"), *([("dead", "edited")] if "dead" in text else [])]
    before, live, *dead = [who(made.ask).version for made in twins(monkeypatch, tmp_path, text, *edits)]
    assert live != before
    assert dead in ([], [before])


MAKES = """
import functools

PROMPT = "be brief"

def factory(word, flag=None):
    def ask(question): return word + question
    return ask

closed = factory("one")

def tool(city):
    "Tells the weather."
    return city

TOOLS = [tool]

def agent(question): return question, TOOLS

class Agent:
    STYLE = "kind"
    def ask(self, question): return self.prepare(question) + self.STYLE + self.tail
    def prepare(self, question): return question + PROMPT
    @property
    def tail(self): return "tail"

class Child(Agent):
    def ask(self, question): return super().ask(question)

def base(a, b): return a + b
partial = functools.partial(base, "bound", b="named")

class Judge:
    def __init__(self, rubric): self.rubric = rubric
    def __call__(self, answer): return self.rubric + answer
judge = Judge("strict")
other_judge = Judge("lenient")

def by_judge(answer): return judge(answer), other_judge(answer)
two = [lambda q: q + "left", lambda q: q + "right"]

def loud(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args) + "!"
    return wrapper

@loud
def decorated(q): return q

def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)

class Answer(Agent):
    "Shown to the model."
    score: int
def parse(q): return Answer

def late(q):
    from made import PROMPT as text
    return q + text
"""
COUNTS = [
    ("closed", '"one"', '"other"', "closure word"),
    ("agent", "return city", "return city + '!'", "helper made.tool"),
    ("agent", "Tells the weather", "Tells the time", "helper made.tool"),
    ("Agent.ask", '"kind"', '"rude"', "constant made.Agent.STYLE"),
    ("Agent.ask", "question + PROMPT", "PROMPT + question", "helper made.Agent.prepare"),
    ("Agent.ask", '"be brief"', '"be long"', "constant made.PROMPT"),
    ("Agent.ask", '"tail"', '"head"', "helper made.Agent.tail"),
    ("Child.ask", "question + PROMPT", "PROMPT + question", "helper made.Agent.prepare"),
    ("partial", '"bound"', '"free"', "bound 0"),
    ("partial", '"named"', '"other"', "bound b"),
    ("judge", '"strict"', '"mild"', "bound self.rubric"),
    ("by_judge", '"strict"', '"mild"', "constant made.judge.rubric"),
    ("by_judge", '"lenient"', '"mild"', "constant made.other_judge.rubric"),
    ("decorated", 'function(*args) + "!"', 'function(*args) + "?"', "helper made.loud.<locals>.wrapper"),
    ("even", "n != 0", "n > 0", "helper made.odd"),
    ("parse", "score: int", "score: float", "helper made.Answer"),
    ("parse", "Shown to", "Hidden from", "helper made.Answer"),
    ("late", '"be brief"', '"be long"', "constant made.PROMPT"),
]


@pytest.mark.parametrize(("name", "edit", "label"), [(name, edit, label) for name, *edit, label in COUNTS])
def test_what_a_function_is_made_with_counts(monkeypatch, tmp_path, name, edit, label):
    old, new = edit
    before, after = (
        who(functools.reduce(getattr, name.split("."), module))
        for module in twins(monkeypatch, tmp_path, MAKES, (old, new))
    )
    assert before.name == after.name
    assert before.version != after.version
    assert label in {part for part in after.parts if after.parts[part] != before.parts.get(part)}


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("from lab import prompts", "prompts.SYSTEM"),
        ("from lab.prompts import SYSTEM", "SYSTEM"),
        ("from . import prompts", "prompts.SYSTEM"),
        ("from .prompts import SYSTEM as brief", "brief"),
        ("import lab.prompts", "lab.prompts.SYSTEM"),
        ("import lab.prompts as brief", "brief.SYSTEM"),
    ],
)
def test_what_a_function_imports_for_itself_counts(monkeypatch, tmp_path, statement, read):
    """P8: a prompt of the same package, however it is imported in the function, and before its first call."""
    found = []
    for word in ("one", "two", "one"):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        ask = f"def ask(q):\n    {statement}\n    return {read} + q\n"
        module = load(monkeypatch, write(folder, lab__ask=ask, lab__prompts=f"SYSTEM = {word!r}\n"), "lab.ask")
        found.append(who(module.ask))
    assert "body" in found[0].parts
    assert (found[0].version != found[1].version, found[0].version == found[2].version) == (True, True)


@pytest.mark.parametrize("edit", [('"a+"', '"b+"'), ('"a+"', '"a+", re.I')])
def test_a_pattern_counts_by_its_text_and_flags(monkeypatch, tmp_path, edit):
    """P8: what a function finds depends on the pattern that it reads."""
    text = 'import re\nPATTERN = re.compile("a+")\ndef ask(q):\n    return PATTERN.findall(q)\n'
    modules = twins(monkeypatch, tmp_path, text, edit)
    before, after = (identify(module.ask, canonical=canonical_of_calls) for module in modules)
    assert "body" in before.parts
    assert before.version != after.version


def test_a_helper_without_source_hides_nothing_else(monkeypatch, tmp_path):
    """P8: what was made by `exec` counts by its compiled form, and the function that calls it by its text."""
    text = 'exec("def helper(q): return q")\ndef ask(q):\n    return helper(q) + "one"\n'
    before, after = (who(module.ask) for module in twins(monkeypatch, tmp_path, text, ('"one"', '"two"')))
    assert before.parts["helper made.helper"].startswith("compiled ")
    assert before.version != after.version


def test_an_attribute_that_a_function_sets_itself_does_not_count(monkeypatch, tmp_path):
    """P9: what changes with every call would give every call a key of its own."""
    text = (
        "class Box: pass\nBOX = Box()\nBOX.seen = 0\nBOX.style = 'dry'\n"
        "def ask(q):\n    BOX.seen = BOX.seen + 1\n    return BOX.style + q\n"
    )
    before, more, other = (
        who(module.ask) for module in twins(monkeypatch, tmp_path, text, ("seen = 0", "seen = 7"), ("dry", "wet"))
    )
    assert before.version == more.version
    assert before.version != other.version


def test_a_static_method_knows_no_class(monkeypatch, tmp_path):
    """P9: its first argument is an argument, whatever the class has under the names that it reads there."""
    text = "class Agent:\n    STYLE = 'dry'\n    @staticmethod\n    def ask(agent): return agent.STYLE\n"
    before, after = (who(module.Agent.ask) for module in twins(monkeypatch, tmp_path, text, ("dry", "wet")))
    assert "body" in before.parts
    assert before.version == after.version


@pytest.mark.parametrize(("number", "written"), [(2**64 - 1, "18446744073709551615"), (2**64, "0x10000000000000000")])
def test_how_a_large_number_is_written_is_frozen(monkeypatch, tmp_path, number, written):
    """P9: decimal up to 64 bits, hexadecimal beyond, where decimal digits have a limit."""
    (module,) = twins(monkeypatch, tmp_path, f"def ask(q): return {number}\n")
    assert who(module.ask).parts["body"].endswith(f"return {written}")


def test_the_order_in_which_parts_were_read_does_not_count():
    """P9: what a function reads is found in some order, which is no part of its version."""
    assert fingerprint({"body": "x", "global A": "1"}) == fingerprint({"global A": "1", "body": "x"})


def test_lambdas_on_one_line_are_told_apart(monkeypatch, tmp_path):
    (made,) = twins(monkeypatch, tmp_path, MAKES)
    left, right = map(who, made.two)
    assert left.name == right.name == "made.<lambda>"
    assert (left.parts["body"], right.parts["body"]) == ('(lambda q: (q + "left"))', '(lambda q: (q + "right"))')
    assert left.lineage != right.lineage


def test_functions_of_one_factory_share_a_name_and_no_lineage(monkeypatch, tmp_path):
    (made,) = twins(monkeypatch, tmp_path, MAKES)
    one, two, three = (who(made.factory(word)) for word in ("one", "two", "one"))
    assert one.name == two.name
    assert one == three
    assert one.lineage != two.lineage


def test_a_method_belongs_to_the_class_that_it_is_called_through(monkeypatch, tmp_path):
    (made,) = twins(monkeypatch, tmp_path, MAKES)
    loud = type("Loud", (made.Agent,), {"STYLE": "loud", "__module__": "made"})
    base, child = who(made.Agent.ask), who(made.Agent.ask, owner=loud)
    assert (base.name, child.name) == ("made.Agent.ask", "made.Loud.ask")
    assert child.parts["constant made.Loud.STYLE"] == '"loud"'
    assert who(made.Agent.ask, owner=made.Agent) == base


def test_an_own_name_and_version_are_taken_as_they_are():
    found = identify(print, canonical=canonical, name="mine", version="7")
    assert (found.name, found.version, dict(found.parts)) == ("mine", "version:7", {})


# Values that cannot count, or must not ------------------------------------------------------------------------------

COUNTER = 0
SEEN = []
CACHE = {}
LOCK = threading.Lock()
API_KEY = "sk-secret"
MIXED = {"prompt": "be brief", "client": LOCK, "of": [{"api_key": "sk-kept"}]}
HUGE = "x" * 50_000


def changing(question):
    global COUNTER
    COUNTER += 1
    SEEN.append(question)
    remember(question)
    return COUNTER, CACHE


def remember(question):
    CACHE[question] = 1


def test_what_changes_while_it_runs_does_not_count():
    before = who(changing)
    changing("a")
    changing("b")
    assert who(changing) == before
    assert not any("COUNTER" in part or "SEEN" in part or "CACHE" in part for part in before.parts)


def unsteady(question):
    return LOCK, MIXED, API_KEY, HUGE, itertools.count, call(api_key="sk-inline")


def call(**options):
    return options


def test_an_object_without_a_text_counts_by_its_type_and_a_secret_not_at_all():
    found = identify(unsteady, canonical=canonical_of_calls)
    assert found.parts[f"constant {__name__}.LOCK"] == "object of _thread:lock"
    mixed = found.parts[f"constant {__name__}.MIXED"]
    assert mixed == 'dict("client": object of _thread:lock, "of": [{"api_key":{"!secret":null}}], "prompt": "be brief")'
    assert found.parts[f"import {__name__}.itertools"] == "itertools"
    assert len(found.parts[f"constant {__name__}.HUGE"]) < 2000
    assert "sk-" not in str(found.parts)


class Holder:
    def __init__(self):
        self.back = holding


def holding(question):
    return HOLDER, BACK


HOLDER = Holder()


class Reference:
    def __memollm_key__(self):
        return identify(holding, canonical=canonical).version


BACK = Reference()


def test_a_value_that_leads_back_to_the_function_is_no_endless_walk():
    def asking_back(value, path):
        return identify(holding, canonical=asking_back).version if value is BACK else canonical(value, path)

    found = identify(holding, canonical=asking_back)
    assert found.version.startswith("code:")
    assert found.parts[f"constant {__name__}.BACK"] == NAME_ONLY


class Hostile:
    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __call__(self):
        return 1


HOSTILE = Hostile()


def test_hostile_objects_never_break_identity():
    def reads(question):
        return HOSTILE.prompt, HOSTILE

    assert who(reads).version.startswith("code:")
    assert who(HOSTILE).name == f"{__name__}.Hostile"


def test_the_number_of_helpers_is_bounded(monkeypatch, tmp_path):
    chain = "".join(f"def f{number}(): return f{number + 1}()\n" for number in range(400))
    (made,) = twins(monkeypatch, tmp_path, chain)
    found = who(made.f0)
    assert len(found.parts) < 220
    assert "more than 200" in found.parts["limit"]


# Without source -----------------------------------------------------------------------------------------------------


def typed(text):
    space = {"__name__": "typed"}
    # Python 3.13 knows the text of `python -c` as that of "<string>".
    exec(compile(text, "<typed>", "exec"), space)
    return space["ask"]


def test_a_function_without_source_counts_by_its_compiled_form_and_says_so_once():
    with pytest.warns(MemollmWarning, match=r"typed\.ask: there is no source.*compiled form.*version=") as said:
        one, again, other = (who(typed(f"def ask(q): return q + {end!r}")) for end in ("a", "a", "b"))
    assert len(said) == 1
    assert one.name == again.name == other.name == "typed.ask"
    assert one.version == again.version != other.version
    assert one.parts["body"].startswith("compiled ")


def test_a_function_in_c_counts_by_name():
    with pytest.warns(MemollmWarning, match="not a function written in Python"):
        assert who(len).version == NAME_ONLY


def test_a_file_edited_after_its_import_is_not_taken_for_the_code_that_runs(monkeypatch, tmp_path):
    (made,) = twins(monkeypatch, tmp_path, "def ask(q): return q + 'old'\n")
    Path(made.__file__).write_text("def ask(q): return q + 'a new text'\n")
    with pytest.warns(MemollmWarning, match="no longer holds"):
        found = who(made.ask)
    assert found.parts["body"].startswith("compiled ")


def test_a_class_edited_after_its_import_is_not_taken_for_the_one_that_runs(monkeypatch, tmp_path):
    text = "def ask(q): return Tidy().go(q)\nclass Tidy:\n    def go(self, q): return q + 'old'\n"
    (made,) = twins(monkeypatch, tmp_path, text)
    Path(made.__file__).write_text(text.replace("old", "a new text"))
    assert "\ncompiled " in who(made.ask).parts["helper made.Tidy"]


def test_a_function_that_moved_in_its_file_after_its_import_is_found_again(monkeypatch, tmp_path):
    (made,) = twins(monkeypatch, tmp_path, "def ask(q): return q + 'old'\n")
    before = who(made.ask)
    Path(made.__file__).write_text("def other(q): return q\n\n\ndef ask(q):\n    # Moved.\n    return q + 'old'\n")
    linecache.clearcache()
    assert who(made.ask) == before


@pytest.mark.parametrize(
    ("told", "env", "name"),
    [
        ({"__vsc_ipynb_file__": "/w/trial.ipynb"}, {}, "trial.ask"),
        ({"__session__": "/w/run.ipynb"}, {}, "run.ask"),
        ({}, {"JPY_SESSION_NAME": "/w/served.ipynb"}, "served.ask"),
        ({}, {}, "notebook.ask"),
    ],
)
def test_a_function_of_a_notebook_carries_its_name_and_the_text_of_its_cells(monkeypatch, told, env, name):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    space = types.ModuleType("__main__").__dict__ | {"get_ipython": print, **told}
    cell(space, 1, "PROMPT = 'be brief'\ndef tidy(q): return q.strip()\n")
    cell(space, 2, "def ask(q): return PROMPT + tidy(q)\n")
    first = who(space["ask"])
    assert first.name == name
    cell(space, 3, "def tidy(q): return q.lower()\n")
    second = who(space["ask"])
    assert changes(first.parts, second.parts) == f"helper {name.replace('ask', 'tidy')}: changed"


def cell(space, number, text):
    filename = f"/tmp/ipykernel_1/{number}.py"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec"), space)


# What is told -------------------------------------------------------------------------------------------------------


def test_changes_name_each_part_that_differs():
    old = {
        "body": "def ask(q):\n    x = q\n    return x",
        "constant m.P": '"You are brief."',
        "helper m.tidy": "def tidy(): ...",
        "constant m.GONE": "1",
    }
    new = {
        "body": "def ask(q):\n    x = q + 1\n    return x",
        "constant m.P": '"You are verbose."',
        "helper m.tidy": "def tidy(): 1",
        "default t": "2",
    }
    assert changes(old, new).splitlines() == [
        "constant m.GONE: no longer read",
        'constant m.P: "You are brief." -> "You are verbose."',
        "default t: now read",
        "helper m.tidy: changed",
        "body:",
        "    def ask(q):",
        "  -     x = q",
        "  +     x = q + 1",
        "        return x",
    ]


def test_changes_show_of_a_long_constant_the_place_that_differs():
    told = changes({"constant m.P": "a" * 500 + "old" + "b" * 500}, {"constant m.P": "a" * 500 + "new" + "b" * 500})
    assert "old" in told
    assert "new" in told
    assert len(told) < 200


def test_changes_admit_what_they_cannot_tell():
    assert changes({}, {"body": "x"}) == "what it was made of is not known on both sides"
    assert changes({"body": "x"}, {"body": "x"}) == "nothing that can be named"
