"""Threads, event loops, forks and process pools draw side by side, and none hangs."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from models import PATIENCE, AsyncGates, Gates, run

from memollm import Cache

MODEL = """
    import uuid
    from memollm import cached_llm

    @cached_llm(namespace="e")
    def ask(prompt):
        return uuid.uuid4().hex
"""
FORK = """
    import os, sys
    from model import ask

    print(ask("x"))
    child = os.fork()
    print(ask("x"))
    print(ask("y"))
    if child:
        _, status = os.waitpid(child, 0)
        sys.exit(status)
"""
FORK_IN_CALL = """
    import os, sys, threading, warnings
    from memollm import Cache

    cache = Cache(sys.argv[1])
    flying, forked = threading.Event(), threading.Event()

    @cache.cached_llm(pool=1)
    def ask(prompt):
        if threading.current_thread() is not threading.main_thread():
            flying.set()
            forked.wait()
        return os.getpid()

    flier = threading.Thread(target=ask, args=("x",))
    flier.start()
    flying.wait()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        # The thread that flies does not exist here: what it has claimed is nobody's, or its process's.
        os._exit(0 if ask("y") == os.getpid() and (sys.argv[1] != "memory:" or ask("x") == os.getpid()) else 1)
    _, status = os.waitpid(child, 0)
    forked.set()
    flier.join()
    print(status, ask("x") == os.getpid())
"""
FORK_IN_BLOCKS = """
    import os, sys, threading, warnings
    import memollm
    from memollm._calls import engines
    from model import ask

    ask("x")
    held, forked = threading.Event(), threading.Event()

    def hold(*locks):
        for lock in locks:
            lock.__enter__()
        held.set()
        forked.wait()

    with memollm.budget(calls=9) as budget, memollm.track() as tracked, memollm.replay("e", then="draw"):
        replay = memollm._calls.context.scope.get().replay
        locks = (budget._lock, tracked._lock, replay._lock, engines._opening)
        holder = threading.Thread(target=hold, args=locks, daemon=True)
        holder.start()
        held.wait()
        with warnings.catch_warnings():
            # Python 3.12 and later warn of what is tested here.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            # The thread that holds them does not exist here.
            os._exit(0 if (ask("x"), ask("x")) and tracked.paid == 1 else 1)
        _, status = os.waitpid(child, 0)
    print(status)
"""
SPAWN = """
    import multiprocessing, sys
    from memollm import Cache
    from model import ask

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        children = [context.Process(target=ask, args=("x",)) for _ in range(3)]
        for process in children:
            process.start()
        for process in children:
            process.join()
            assert process.exitcode == 0
        print(len(set(ask.peek("x"))), *[namespace.draws for namespace in Cache().namespaces()])
"""
POOL = """
    import multiprocessing, sys
    from concurrent.futures import ProcessPoolExecutor
    from model import ask

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            print(*pool.map(ask, ["x", "y"] * 10), sep="\\n")
"""
INTERRUPTED = """
    import sys
    from memollm import cached_llm

    @cached_llm(namespace="e")
    def ask(prompt):
        print("flying")
        return sys.stdin.readline().strip()

    try:
        ask("x")
    except KeyboardInterrupt:
        print("interrupted")
    print(ask("x"))
    print(ask.peek("x"))
"""
SEVERAL = """
    import signal, threading
    from memollm import cached_llm

    begun = threading.Semaphore(0)
    release, handled = threading.Event(), threading.Event()
    made = []

    @cached_llm(namespace="e", n=6, concurrency=2)
    def ask(prompt):
        made.append(prompt)
        begun.release()
        release.wait()
        return len(made)

    def tell():
        begun.acquire()
        begun.acquire()
        # Again, should it come right before the main thread goes to sleep, which then does not notice it.
        while not handled.wait(0.1):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        release.set()

    def handle(*_):
        if not handled.is_set():
            handled.set()
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    threading.Thread(target=tell).start()
    try:
        ask("x")
    except KeyboardInterrupt:
        print("interrupted")
    print(len(made))
"""


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as cache:
        yield cache


def counting(cache, **options):
    """Return a coroutine function whose answers are all different."""
    numbers = itertools.count()

    @cache.cached_llm(namespace="e", name="ask", version="1", **options)
    async def ask(prompt):
        await asyncio.sleep(0)
        return next(numbers)

    return ask


def test_two_event_loops_draw_side_by_side(cache):
    """P1: tasks of two event loops in two threads draw distinct samples of one namespace."""
    ask = counting(cache)

    async def main():
        return [sample for _ in range(5) for sample in await asyncio.gather(*(ask("x") for _ in range(20)))]

    with ThreadPoolExecutor(2) as pool:
        drawn = [pool.submit(run, main()) for _ in range(2)]
        samples = [sample for one in drawn for sample in one.result(PATIENCE)]
    assert len(set(samples)) == 200
    assert sorted(ask.peek("x")) == sorted(samples)


def test_two_event_loops_wait_for_one_flight(cache):
    """P5: a task waits for the flight of another loop's task, and is woken in its own loop."""
    model = Gates()

    @cache.cached_llm(pool=1, name="ask", version="1")
    async def ask(prompt):
        return await asyncio.to_thread(model.fly)

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(run, ask("x")) for _ in range(2)]
        model.begun().put("answer")
        assert [one.result(PATIENCE) for one in asked] == ["answer"] * 2
    assert model.made == 1


def test_a_second_event_loop_goes_on(cache):
    """P1: a second asyncio.run, in a new loop, draws on as the first one did."""
    ask = counting(cache)
    assert [run(ask("x")) for _ in range(3)] == [0, 1, 2]


def test_threads_draw_distinct_samples(cache):
    """P1: the threads of an executor draw distinct samples, as many as there were calls."""
    numbers = itertools.count()

    @cache.cached_llm(namespace="e", name="ask", version="1")
    def ask(prompt):
        return next(numbers)

    with ThreadPoolExecutor(16) as pool:
        samples = list(pool.map(ask, ["x"] * 400, timeout=PATIENCE))
    assert sorted(samples) == list(range(400))
    assert sorted(ask.peek("x")) == list(range(400))


def test_a_fork_after_use_draws_on_its_own_connection(project):
    """P1: parent and child draw distinct samples after a fork of a process that had the cache open."""
    project.write("model.py", MODEL)
    project.write("fork.py", FORK)
    drawn = project.run("fork.py")
    assert len(set(drawn)) == len(drawn) == 5


@pytest.mark.parametrize("place", ["cache", "memory:"])
def test_a_fork_during_a_flight_leaves_no_ghost(project, place):
    """P5: a draw of the parent's other thread is not aloft in a forked child, and goes on in the parent."""
    project.write("fork.py", FORK_IN_CALL)
    assert project.run("fork.py", place) == ["0 True"]


def test_a_fork_while_other_threads_draw_in_the_same_blocks(project):
    """A forked child draws in the budget, the track and the replay around it, whose locks its parent's threads held."""
    project.write("model.py", MODEL)
    project.write("fork.py", FORK_IN_BLOCKS)
    assert project.run("fork.py") == ["0"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_decorated_function_is_the_target_of_processes(project, method):
    """P1: processes started with the decorated function as their target each draw a sample of their own."""
    project.write("model.py", MODEL)
    project.write("spawn.py", SPAWN)
    assert project.run("spawn.py", method) == ["3 3"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_pool_maps_a_decorated_function(project, method):
    """P1: ProcessPoolExecutor.map(ask, prompts) works, and no sample comes twice."""
    project.write("model.py", MODEL)
    project.write("pool.py", POOL)
    drawn = project.run("pool.py", method)
    assert len(set(drawn)) == len(drawn) == 20


def test_an_interrupted_call_gives_its_position_back(project):
    """P3: Ctrl-C during a call leaves nothing behind: the next draw of the process takes the same position."""
    project.write("interrupted.py", INTERRUPTED)
    program = project.start("interrupted.py")
    assert program.line() == "flying"
    program.signal(2)
    assert program.line() == "interrupted"
    assert program.line() == "flying"
    program.say("answer")
    assert program.finish() == ["answer", "['answer']"]


def test_a_destroyed_coroutine_gives_its_position_back(cache):
    """P3: a task that dies with its closed event loop gives its position back; the next draw takes it."""
    model = AsyncGates()

    @cache.cached_llm(namespace="e", name="ask", version="1")
    async def ask(prompt):
        return await model.fly()

    loop = asyncio.new_event_loop()
    task = loop.create_task(ask("x"))
    task._log_destroy_pending = False
    loop.run_until_complete(model.begun())
    loop.close()
    del task
    gc.collect()

    async def main():
        answer = asyncio.create_task(ask("x"))
        (await model.begun()).set_result("answer")
        return await answer

    assert run(main()) == "answer"
    assert ask.peek("x") == ["answer"]


def test_destroyed_parallel_calls_give_their_positions_back(cache):
    """P3: the same holds for a draw of several samples, whose calls are tasks of their own."""
    model = AsyncGates()

    @cache.cached_llm(n=3, namespace="e", name="ask", version="1")
    async def ask(prompt):
        return await model.fly()

    loop = asyncio.new_event_loop()
    task = loop.create_task(ask("x"))
    task._log_destroy_pending = False
    gates = [loop.run_until_complete(model.begun()) for _ in range(3)]
    for one in asyncio.all_tasks(loop):
        one._log_destroy_pending = False
    loop.close()
    del task, gates, one
    gc.collect()

    async def main():
        answer = asyncio.create_task(ask("x"))
        for number in range(3):
            (await model.begun()).set_result(number)
        return await answer

    assert run(main()) == [0, 1, 2]
    assert ask.peek("x") == [0, 1, 2]


def test_a_closed_coroutine_settles_at_once(cache):
    """P3: closing a suspended draw settles it in the store, so that another process can take its position soon."""
    model = AsyncGates()
    deadline = time.monotonic() + 10

    @cache.cached_llm(namespace="e", name="ask", version="1")
    async def ask(prompt):
        return await model.fly()

    async def main():
        drawing = ask("x")
        drawing.send(None)
        drawing.close()

    # What is done once, off the loop, is done before.
    cache.cached_llm(lambda: "", name="other", version="1")()
    ask.key("x")
    run(main())
    while [namespace.draws for namespace in cache.namespaces()] != [0]:
        assert time.monotonic() < deadline


def test_a_cache_closed_during_a_flight_does_not_hang_it(cache):
    """P7: an answer that comes when its cache has been closed is returned, with a warning."""
    model = AsyncGates()

    @cache.cached_llm(namespace="e", name="ask", version="1")
    async def ask(prompt):
        return await model.fly()

    async def main():
        drawings = [asyncio.create_task(ask("x")) for _ in range(2)]
        # The first answer is stored, by threads that the cache ends when it is closed.
        (await model.begun()).set_result("stored")
        assert await drawings[0] == "stored"
        gate = await model.begun()
        cache.close()
        gate.set_result("answer")
        return await drawings[1]

    with pytest.warns(match="was closed"):
        assert run(main()) == "answer"


def test_what_is_delivered_after_a_close_is_not_given_again(tmp_path):
    """P1: a draw of several that ends when its cache has been closed is given what is stored, and nobody else is."""
    model = Gates()
    with Cache(tmp_path / "cache") as closed, ThreadPoolExecutor(1) as pool, pytest.warns(match="was closed"):
        ask = closed.cached_llm(namespace="e", name="ask", version="1", n=2)(lambda prompt: model.fly())
        drawing = pool.submit(ask, "x")
        model.begun().put("stored")
        gate = model.begun()
        closed.close()
        gate.put("returned")
        assert drawing.result(PATIENCE) == ["stored", "returned"]
    with Cache(tmp_path / "cache") as cache:
        ask = cache.cached_llm(namespace="e", name="ask", version="1")(lambda prompt: "new")
        assert ask.peek("x") == ["stored"]
        assert [ask("x"), ask("x")] == ["new", "new"]
        assert ask.peek("x") == ["stored", "new", "new"]


def test_a_draw_under_way_at_a_repair_keeps_its_position(cache):
    """P1: a repair closes the file and opens it again, and what is drawn meanwhile stays drawn."""
    model = Gates()
    ask = cache.cached_llm(namespace="e", name="ask", version="1")(lambda prompt: model.fly())
    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(ask, "x")
        gate = model.begun()
        with closing(sqlite3.connect(cache.store.files.database)) as connection, connection:
            connection.execute("INSERT INTO sample (call, slot, stored, record) VALUES (99, 0, 0, x'00')")
        assert cache.verify(repair=True).repaired
        gate.put("first")
        assert drawing.result(PATIENCE) == "first"
        drawing = pool.submit(ask, "x")
        model.begun().put("second")
        assert drawing.result(PATIENCE) == "second"
    assert ask.peek("x") == ["first", "second"]


def test_an_interrupted_draw_of_several_begins_no_more_calls(project):
    """P4: Ctrl-C while some calls of one draw are under way: those that had not begun are not paid for."""
    project.write("several.py", SEVERAL)
    assert project.run("several.py") == ["interrupted", "2"]
