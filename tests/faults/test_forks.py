"""Forked children: whatever the parent has open and under way, no answer is lost and nobody waits for ever."""

from __future__ import annotations

import os
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

ASK = """
    import itertools, os, sys, threading, time, warnings
    from memollm import Cache, NotStoredWarning

    cache = Cache(".memollm")
    made = itertools.count()

    @cache.cached_llm(namespace="n", name="ask", version=1)
    def ask(prompt):
        return f"{os.getpid()}.{next(made)}"

    def say(*answers):
        "Print all at once, as others print, too."
        os.write(1, "".join(f"{answer}\\n" for answer in answers).encode())

    def forked(work):
        "Do work in a forked child, which ends at once after it; return its id."
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work()
                sys.stdout.flush()
                status = 0
            finally:
                os._exit(status)
        return child

    def ended(child):
        assert os.waitpid(child, 0)[1] == 0
"""

SLOW = """
    from ask import *
    import importlib.abc, importlib.machinery

    class Slow(importlib.abc.MetaPathFinder):
        "Holds up an import from when it has begun until something forks."

        def __init__(self, name):
            self.name = name
            self.begun, self.forking = threading.Event(), threading.Event()

        def find_spec(self, name, path=None, target=None):
            if name != self.name:
                return None
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            execute = spec.loader.exec_module

            def exec_module(module):
                self.begun.set()
                self.forking.wait()
                execute(module)

            spec.loader.exec_module = exec_module
            return spec

    def held_up(name):
        "Hold up the import of a module; return the finder that does it."
        slow = Slow(name)
        sys.meta_path.insert(0, slow)
        return slow
"""


def _answers(project):
    """Return what is stored, as an unrelated process reads it."""
    project.write("ask.py", ASK)
    project.write("answers.py", "from ask import ask\nprint(*ask.peek('x'), sep='\\n')")
    return project.run("answers.py")


# A child has draws of its own.


@pytest.mark.parametrize("place", [".memollm", "memory:"])
def test_draws_of_a_child_know_of_one_another(project, place):
    """In a forked child, one draw gets distinct samples, and threads that want one sample make one call (P1, P5)."""
    project.write("ask.py", ASK)
    project.write(
        "within.py",
        f"""
        from ask import *
        from concurrent.futures import ThreadPoolExecutor

        cache = Cache("{place}")
        batch = cache.cached_llm(namespace="n", name="batch", version=1, batch="prompts")(
            lambda prompts: [f"{{os.getpid()}}.{{next(made)}}" for _ in prompts]
        )
        calls, go_on = [], threading.Event()

        @cache.cached_llm(pool=1, name="memo", version=1)
        def memo(prompt):
            calls.append(prompt)
            go_on.wait()
            return "answer"

        batch(["x"])

        def work():
            say(*batch(["x", "x", "x"]))
            threads = [threading.Thread(target=memo, args=("y",)) for _ in range(2)]
            for thread in threads:
                thread.start()
            # Until the one who came second waits, or calls.
            while len(calls) < 2 and not any(list(cache.store.flights.under_way.values())):
                time.sleep(0.001)
            go_on.set()
            for thread in threads:
                thread.join()
            say(len(calls))

        ended(forked(work))
        """,
    )
    *drawn, calls = project.run("within.py", deadline=30)
    assert (len(drawn), len(set(drawn)), calls) == (3, 3, "1")


# Nothing of SQLite is inherited.


@pytest.mark.parametrize("leaving", ["cache.close()", "pass"])
def test_answers_of_children_outlive_their_parent(project, leaving):
    """Children draw on while the parent closes the cache or ends, and every answer is stored (P1, P7)."""
    project.write("ask.py", ASK)
    project.write(
        "family.py",
        f"""
        from ask import *

        say(ask("x"))
        drawn, draw = os.pipe(), os.pipe()
        parent = os.getpid()

        def work():
            say(ask("x"))
            os.write(drawn[1], b".")
            os.close(draw[1])
            os.read(draw[0], 1)  # Until the parent has left.
            say(*[ask("x") for _ in range(5)])

        children = [forked(work) for _ in range(4)]
        for _ in children:
            os.read(drawn[0], 1)
        {leaving}
        os.close(draw[1])
        if "{leaving}" != "pass":
            for child in children:
                ended(child)
        """,
    )
    paid = project.run("family.py")
    assert (len(paid), len(set(paid))) == (25, 25)
    assert sorted(_answers(project)) == sorted(paid)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_child_inherits_no_file_of_a_cache(project):
    """In a forked child none of the parent's caches has a file open, and the parent draws on with its own (P1, P7)."""
    project.write("ask.py", ASK)
    project.write(
        "files.py",
        """
        from ask import *
        from memollm import mode

        other = Cache("other")
        answer = other.cached_llm(namespace="n", name="answer", version=1)(lambda prompt: prompt)
        print(ask("x"), answer("x"))
        with mode("readonly"):
            ask("x")

        def opened():
            for number in os.listdir("/proc/self/fd"):
                try:
                    where = os.readlink(f"/proc/self/fd/{number}")
                except FileNotFoundError:
                    continue
                if "memollm.db" in where:
                    yield where
            with open("/proc/self/maps") as maps:
                yield from (line for line in maps if "memollm.db" in line)

        assert any("-wal" in where for where in opened())
        ended(forked(lambda: print(*opened())))
        print(ask("x"), answer("x"))
        with mode("readonly"):
            ask("x")
        """,
    )
    lines = project.run("files.py")
    assert lines[1] == ""
    assert len(_answers(project)) == 2


def test_draw_that_is_under_way_outlives_a_fork(project):
    """A function may fork and its child may draw: the answer of either is stored, each at its own position (P1, P7)."""
    project.write("ask.py", ASK)
    project.write(
        "inside.py",
        """
        from ask import *

        @cache.cached_llm(namespace="n", name="outer", version=1)
        def outer(prompt):
            ended(forked(lambda: say(ask("x"))))
            return "outer"

        assert outer("x") == "outer"
        assert outer.peek("x") == ["outer"]
        outer.draw(1, "x")
        assert len(outer.peek("x")) == 2
        """,
    )
    paid = project.run("inside.py")
    assert _answers(project) == paid


def test_child_of_a_parent_whose_cache_vanished_draws(project):
    """A file that is gone and was left open keeps no child from using the one in its place (P7)."""
    project.write("ask.py", ASK)
    project.write(
        "gone.py",
        """
        from ask import *
        import shutil

        ask("x")
        shutil.rmtree(".memollm")
        warnings.simplefilter("ignore")
        ask("x")
        ended(forked(lambda: say(ask("x"))))
        say(ask("x"))
        """,
    )
    paid = project.run("gone.py")
    assert _answers(project) == paid


def test_log_that_is_removed_is_noticed(project):
    """Whoever removes the log under a running process loses what was in it, and nothing that is drawn after (P7)."""
    project.write("ask.py", ASK)
    project.write(
        "log.py",
        """
        from ask import *

        ask("x")
        os.unlink(".memollm/memollm.db-wal")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            ask("x")
        assert [each.category for each in told] == [NotStoredWarning]
        kept = ask("x")
        assert kept in ask.peek("x")
        print(kept)
        """,
    )
    (kept,) = project.run("log.py")
    assert kept in _answers(project)


# What is under way in other threads.

BUSY = """
    from ask import *
    from memollm.stores.sqlite import connections

    # What follows takes far longer than anything that such a small file can need.
    connections.STEPS = 1 << 37
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT count(*) FROM n"
    begun, forking = threading.Event(), threading.Event()

    def transaction(ledger):
        begun.set()
        forking.wait()
        ledger.rows.execute(slow).fetchone()

    ask("y")
    store = cache.store
"""


def test_fork_waits_for_a_transaction_of_another_thread(project):
    """A child that is forked while another thread writes draws and stores, and so does everybody after it (P7)."""
    project.write("ask.py", ASK)
    project.write("busy.py", BUSY)
    project.write(
        "transaction.py",
        """
        from busy import *

        thread = threading.Thread(target=store.transact, args=(transaction,))
        thread.start()
        begun.wait()
        os.register_at_fork(before=forking.set)
        child = forked(lambda: say(ask("x")))
        thread.join()
        ended(child)
        say(ask("x"))
        """,
    )
    paid = project.run("transaction.py", deadline=30)
    assert _answers(project) == paid


def test_fork_waits_for_a_query_of_another_thread(project):
    """A child that is forked while another thread reads inherits none of what it reads with (P7)."""
    project.write("ask.py", ASK)
    project.write("busy.py", BUSY)
    project.write(
        "query.py",
        """
        from busy import *

        link = store._open_as[0]
        link.read("SELECT 1", ())
        link._readers._idle[0].connection.set_progress_handler(begun.set, 100)
        thread = threading.Thread(target=lambda: print(link.read(slow, ())[0][0]))
        thread.start()
        begun.wait()
        child = forked(lambda: say(ask("x")))
        thread.join()
        ended(child)
        say(ask("x"))
        """,
    )
    lines = project.run("query.py", deadline=30)
    assert "2000000" in lines
    assert _answers(project) == [line for line in lines if line != "2000000"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fork_that_is_interrupted_leaves_the_cache_in_use(project, when):
    """Ctrl-C while a fork closes what is open keeps neither its threads nor its child from drawing (P7)."""
    project.write("ask.py", ASK)
    project.write(
        "interrupted.py",
        """
        from ask import *
        from memollm.stores.sqlite.link import Link

        say(ask("x"))
        end = Link._end

        def interrupted(link):
            Link._end = end
            if sys.argv[1] == "after":
                end(link)
            raise KeyboardInterrupt

        Link._end = interrupted
        # Python tells of it and forks.
        sys.unraisablehook = lambda _: None
        ended(forked(lambda: say(ask("x"))))
        say(ask("x"), len(ask.peek("x")))
        """,
    )
    lines = project.run("interrupted.py", when, deadline=30)
    assert lines[-1] == "3"
    assert _answers(project) == lines[:-1]


IMPATIENT = """
        import importlib
        forks = importlib.import_module("memollm.stores.sqlite.forks")
        forks.PATIENCE = {patience}
"""


def test_child_leaves_a_cache_alone_that_stays_in_use(project):
    """Where the wait has an end, the child returns its answer with a warning, and the parent goes on (P7)."""
    project.write("ask.py", ASK)
    project.write("busy.py", BUSY)
    project.write(
        "impatient.py",
        IMPATIENT.format(patience=0.05)
        + """
        from busy import *

        def work():
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                assert ask("x").startswith(str(os.getpid()))
            ((warning),) = told
            assert warning.category is NotStoredWarning
            assert "when this process was forked" in str(warning.message), warning.message

        thread = threading.Thread(target=store.transact, args=(transaction,))
        thread.start()
        begun.wait()
        ended(forked(work))
        forking.set()
        thread.join()
        say(ask("x"))
        """,
    )
    paid = project.run("impatient.py", deadline=30)
    assert _answers(project) == paid


def test_fork_in_a_transaction_of_its_own_waits_for_nothing(project):
    """A thread that forks inside its own transaction does not wait for itself; the transaction is the parent's (P7)."""
    project.write("ask.py", ASK)
    project.write("busy.py", BUSY)
    project.write(
        "own.py",
        IMPATIENT.format(patience=3600)
        + """
        from busy import *

        def work():
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                ask("x")
            assert [each.category for each in told] == [NotStoredWarning]

        def inside(ledger):
            ended(forked(work))
            ledger.rows.execute("PRAGMA user_version").fetchone()

        store.transact(inside)
        say(ask("x"))
        """,
    )
    paid = project.run("own.py", deadline=30)
    assert _answers(project) == paid


# What C code has locks of.


def test_child_looks_nothing_up_in_openssl(project):
    """A child draws and signs without OpenSSL's locks, which a thread of its parent may have had at the fork (P7)."""
    project.write("ask.py", ASK)
    project.write(
        "locks.py",
        """
        import _hashlib, hashlib

        sha256, looked_up = hashlib.sha256, []
        hashlib.sha256 = lambda *given, **options: looked_up.append(given) or sha256(*given, **options)
        from ask import *

        # The first of a process takes the locks, so it comes before any fork.
        assert looked_up

        class Odd:
            def __eq__(self, other):
                return isinstance(other, Odd)

            __hash__ = None

        def refuse(*_, **__):
            raise AssertionError("OpenSSL was asked to look something up")

        keep = cache.cached_llm(namespace="n", name="keep", version=1)(lambda prompt: Odd())
        for module in (_hashlib, hashlib):
            for name in ("new", "md5", "sha1", "sha384", "sha512", "hmac_digest", "hmac_new"):
                if hasattr(module, name):
                    setattr(module, name, refuse)
        ended(forked(lambda: print(keep("x") == Odd(), ask("x") != "")))
        ended(forked(lambda: print(keep("x") == Odd(), ask("x") != "")))
        print(len(keep.peek("x")))
        """,
    )
    assert project.run("locks.py", deadline=30) == ["True True", "True True", "2"]


# What is imported.


def test_drawing_imports_nothing(project):
    """A draw imports nothing, so no forked child waits for an import that another thread has begun (P7)."""
    project.write("ask.py", ASK)
    project.write(
        "importing.py",
        """
        from ask import *
        import asyncio, memollm

        @cache.cached_llm(namespace="n", name="later", version=1)
        async def later(prompt):
            return prompt

        @cache.cached_llm(name="stream", version=1)
        def stream(prompt):
            yield prompt

        @cache.cached_llm(n=2, name="two")
        def two(prompt, *, options=None):
            return {"content": prompt}

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                raise AssertionError(f"{name} was imported by a draw")

        asyncio.run(asyncio.sleep(0))
        ask("warm")
        sys.meta_path.insert(0, Refuse())
        for _ in range(2):
            ask("x")
            two([{"role": "user"}], options={"a": (1, None, 2.5)})
            list(stream("x"))
            asyncio.run(later("x"))
        with memollm.run():
            two(b"x")
        ended(forked(lambda: (ask("x"), asyncio.run(later("x")), list(stream("x")))))
        """,
    )
    project.run("importing.py")


def test_fork_waits_for_an_import_of_another_thread(project):
    """A child that is forked while another thread imports what is rarely needed does not wait for that import (P7)."""
    project.write("ask.py", ASK)
    project.write("slow.py", SLOW)
    project.write(
        "late.py",
        """
        from slow import *

        class Odd:
            def __eq__(self, other):
                return isinstance(other, Odd)

            __hash__ = None

        slow = held_up("memollm._values.pickled")
        keep = cache.cached_llm(namespace="n", name="keep", version=1)(lambda prompt: Odd())
        thread = threading.Thread(target=keep, args=("x",))
        thread.start()
        slow.begun.wait()
        os.register_at_fork(before=slow.forking.set)
        child = forked(lambda: keep("x"))
        thread.join()
        ended(child)
        print(len(keep.peek("x")))
        """,
    )
    assert project.run("late.py", deadline=30) == ["2"]


@pytest.mark.parametrize("name", ["memollm._values.pickled", "cloudpickle.cloudpickle"])
def test_child_begins_an_import_anew_that_outlives_the_wait(project, name):
    """A child imports what another thread has not imported in time, in whatever depth that thread is (P7)."""
    project.write("ask.py", ASK)
    project.write("slow.py", SLOW)
    project.write(
        "anew.py",
        f"""
        from slow import *
        import importlib

        class Odd:
            def __eq__(self, other):
                return isinstance(other, Odd)

            __hash__ = None

        def work():
            sys.meta_path.remove(slow)
            keep("x")

        importlib.import_module("memollm._calls.loading").PATIENCE = 0
        slow = held_up("{name}")
        keep = cache.cached_llm(namespace="n", name="keep", version=1)(lambda prompt: Odd())
        thread = threading.Thread(target=keep, args=("x",))
        thread.start()
        slow.begun.wait()
        child = forked(work)
        slow.forking.set()
        thread.join()
        ended(child)
        print(len(keep.peek("x")))
        """,
    )
    assert project.run("anew.py", deadline=30) == ["2"]


def test_child_imports_whole_what_a_thread_has_imported_half(project):
    """Whatever another thread was importing at the fork, the child imports from the start; the parent goes on (P7)."""
    project.write("ask.py", ASK)
    project.write(
        "halves.py",
        """
        import threading

        begun, go_on = threading.Event(), threading.Event()
        """,
    )
    project.write("half.py", "import halves\nhalves.begun.set()\nhalves.go_on.wait()\nwhole = True")
    project.write(
        "main.py",
        """
        from ask import *
        import halves

        def work():
            halves.go_on = threading.Event()
            halves.go_on.set()
            import half
            print(half.whole)

        ask("x")
        thread = threading.Thread(target=__import__, args=("half",))
        thread.start()
        halves.begun.wait()
        child = forked(work)
        halves.go_on.set()
        thread.join()
        ended(child)
        import half
        print(half.whole)
        """,
    )
    assert project.run("main.py", deadline=30) == ["True", "True"]


def test_fork_waits_for_what_is_loaded_beside_a_call(project):
    """A child that is forked while a thread imports the prices for the first answer imports them itself (P7)."""
    project.write("ask.py", ASK)
    project.write("slow.py", SLOW)
    project.write(
        "beside.py",
        """
        from slow import *
        import asyncio

        slow = held_up("genai_prices")

        @cache.cached_llm(namespace="n", name="keep", version=1)
        async def keep(prompt):
            return prompt

        thread = threading.Thread(target=lambda: asyncio.run(keep("x")))
        thread.start()
        slow.begun.wait()
        os.register_at_fork(before=slow.forking.set)
        child = forked(lambda: asyncio.run(keep("x")))
        thread.join()
        ended(child)
        print(len(keep.peek("x")))
        """,
    )
    assert project.run("beside.py", deadline=30) == ["2"]


def test_fork_in_an_import_of_its_own_waits_for_nothing(project):
    """A module that forks while it is imported does not wait for its own import (P7)."""
    project.write("ask.py", ASK)
    project.write("numpy.py", "from ask import *\nended(forked(lambda: None))")
    project.write(
        "own.py",
        """
        import importlib

        loading = importlib.import_module("memollm._calls.loading")
        loading.PATIENCE = 3600
        assert any(module == "numpy" for module in loading.LATER)
        import numpy
        print("imported")
        """,
    )
    assert project.run("own.py", deadline=30) == ["imported"]
