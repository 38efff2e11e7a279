"""For one slot one caller flies; the others wait, and exactly one takes over when it fails, is cancelled or dies."""

from __future__ import annotations

import asyncio
import os
import select
from concurrent.futures import ThreadPoolExecutor

import pytest
from models import PATIENCE, AsyncGates, Gates, run, until, until_in_loop, waiting


def decorated(cache, model):
    """Return a plain function with a pool of one."""

    @cache.cached_llm(pool=1, name="ask", version="1")
    def ask(prompt):
        return model.fly()

    return ask


def decorated_async(cache, model, **options):
    """Return a coroutine function with a pool of one."""

    @cache.cached_llm(pool=1, name="ask", version="1", **options)
    async def ask(prompt):
        return await model.fly()

    return ask


# Tasks.


def test_a_thousand_tasks_that_want_one_slot_make_one_call(cache):
    """P5: 1,000 coroutines ask for the one slot of a pool; one flies and all get its answer."""
    model = AsyncGates()
    ask = decorated_async(cache, model)

    async def main():
        tasks = [asyncio.create_task(ask("x")) for _ in range(1000)]
        flier = await model.begun()
        await until_in_loop(lambda: waiting(cache) == 999)
        flier.set_result("answer")
        return await asyncio.gather(*tasks)

    assert run(main()) == ["answer"] * 1000
    assert model.made == 1


@pytest.mark.parametrize("readers", [1, 20])
def test_who_waits_in_the_process_is_told_the_answer(cache, monkeypatch, readers):
    """P5: those who wait for a slot that this process fills ask the store for nothing more, whoever they read as."""
    model = AsyncGates()
    ask = [decorated_async(cache, model).with_options(namespace=f"reader {number}", pool=2) for number in range(20)]
    ask = [decorated_async(cache, model)] * 20 if readers == 1 else ask
    perform, asked = cache.store.perform, []

    async def main():
        tasks = [asyncio.create_task(each("x")) for each in ask]
        flier = await model.begun()
        await until_in_loop(lambda: waiting(cache) == 19)
        monkeypatch.setattr(cache.store, "perform", lambda requests: asked.extend(requests) or perform(requests))
        monkeypatch.setattr(cache.store, "at_once", asked.append)
        flier.set_result("answer")
        return await asyncio.gather(*tasks)

    assert run(main()) == ["answer"] * 20
    # One fills, and each reader's cursor is told that its draw has ended.
    assert [type(request).__name__ for request in asked] == ["Write"] * readers


def test_when_the_flying_task_raises_one_waiter_takes_over(cache):
    """P5: the error goes to the task that flew; of those that waited exactly one flies next, for all."""
    model = AsyncGates()
    ask = decorated_async(cache, model)

    async def main():
        tasks = [asyncio.create_task(ask("x")) for _ in range(10)]
        flier = await model.begun()
        await until_in_loop(lambda: waiting(cache) == 9)
        flier.set_exception(ValueError("told to"))
        (await model.begun()).set_result("answer")
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = run(main())
    assert isinstance(first, ValueError)
    assert others == ["answer"] * 9
    assert model.made == 2


def test_when_the_flying_task_is_cancelled_a_waiter_takes_over(cache):
    """P5: a flier that is stopped leaves its slot to exactly one of those who wait."""
    model = AsyncGates()
    ask = decorated_async(cache, model, on_cancel="stop")

    async def main():
        tasks = [asyncio.create_task(ask("x")) for _ in range(10)]
        await model.begun()
        await until_in_loop(lambda: waiting(cache) == 9)
        tasks[0].cancel()
        (await model.begun()).set_result("answer")
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = run(main())
    assert isinstance(first, asyncio.CancelledError)
    assert others == ["answer"] * 9
    assert model.made == 2


def test_a_cancelled_draw_keeps_its_slots_until_its_calls_have_ended(cache):
    """P5: calls that take a while to end when they are cancelled fly alone until then; only then do others begin."""
    may_end, begun, ending = asyncio.Event(), [], []
    answer = AsyncGates()

    @cache.cached_llm(pool=3, n=3, name="ask", version="1", on_cancel="stop")
    async def ask(prompt):
        begun.append(prompt)
        try:
            return await answer.fly()
        except asyncio.CancelledError:
            ending.append(prompt)
            await may_end.wait()
            raise

    @cache.cached_llm(name="other", version="1")
    async def other(number):
        return number

    async def main():
        cancelled = asyncio.create_task(ask("x"))
        await until_in_loop(lambda: len(begun) == 3)
        cancelled.cancel()
        await until_in_loop(lambda: len(ending) == 3)
        cancelled.cancel()
        waits = asyncio.create_task(ask("x"))
        try:
            # What was handed in for saving before these is saved when they are.
            assert [await other(number) for number in range(3)] == [0, 1, 2]
            assert (cancelled.done(), waits.done(), len(begun)) == (False, False, 3)
        finally:
            may_end.set()
        gates = [await answer.begun() for _ in range(6)]
        assert cancelled.cancelled()
        for gate in gates[3:]:
            gate.set_result("answer")
        return await waits

    assert run(main()) == ["answer"] * 3


def test_a_cancelled_waiter_disturbs_nobody(cache):
    """P5: tasks that wait for a slot may be cancelled; the flier and the other waiters do not notice."""
    model = AsyncGates()
    ask = decorated_async(cache, model)

    async def main():
        tasks = [asyncio.create_task(ask("x")) for _ in range(10)]
        flier = await model.begun()
        await until_in_loop(lambda: waiting(cache) == 9)
        for task in tasks[1:5]:
            task.cancel()
        await until_in_loop(lambda: all(task.done() for task in tasks[1:5]))
        assert not flier.done()
        flier.set_result("answer")
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = run(main())
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[1:5])
    assert [answers[0], *answers[5:]] == ["answer"] * 6
    assert model.made == 1


def test_a_waiter_whose_event_loop_is_closed_disturbs_nobody(cache):
    """P5: an answer reaches those who wait for it even if the loop of another waiter has been closed."""
    model = AsyncGates()
    ask = decorated_async(cache, model)
    abandoned = asyncio.new_event_loop()

    async def main():
        tasks = [asyncio.create_task(ask("x")) for _ in range(2)]
        flier = await model.begun()
        await until_in_loop(lambda: waiting(cache) == 1)
        # The loop is closed with a task in it that nobody has ended.
        with ThreadPoolExecutor(1) as pool:
            await asyncio.wrap_future(pool.submit(wait_in, abandoned))
        tasks += [asyncio.create_task(ask("x")) for _ in range(3)]
        await until_in_loop(lambda: waiting(cache) == 5)
        flier.set_result("answer")
        return await asyncio.gather(*tasks)

    def wait_in(loop):
        task = loop.create_task(ask("x"))
        task._log_destroy_pending = False
        kept.append(task)
        loop.run_until_complete(asyncio.sleep(0))
        until(lambda: loop.run_until_complete(asyncio.sleep(0)) is None and waiting(cache) == 2)
        loop.close()

    kept = []
    assert run(main()) == ["answer"] * 5
    assert model.made == 1


# Threads.


def test_threads_that_want_one_slot_make_one_call(cache):
    """P5: of many threads that ask for one slot one flies, and all get its answer."""
    model = Gates()
    ask = decorated(cache, model)
    with ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(ask, "x") for _ in range(32)]
        flier = model.begun()
        until(lambda: waiting(cache) == 31)
        flier.put("answer")
        assert [one.result(PATIENCE) for one in asked] == ["answer"] * 32
    assert model.made == 1


def test_when_the_flying_thread_raises_one_waiter_takes_over(cache):
    """P5: the error goes to the thread that flew; of those that waited exactly one flies next, for all."""
    model = Gates()
    ask = decorated(cache, model)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, "x") for _ in range(8)]
        flier = model.begun()
        until(lambda: waiting(cache) == 7)
        flier.put(ValueError("told to"))
        model.begun().put("answer")
        outcomes = [one.exception(PATIENCE) or one.result() for one in asked]
    assert sum(isinstance(outcome, ValueError) for outcome in outcomes) == 1
    assert outcomes.count("answer") == 7
    assert model.made == 2


def test_tasks_and_threads_wait_for_each_other(cache):
    """P5: a coroutine function and a plain one of the same call are one flight, whoever flies."""
    model, model_async = Gates(), AsyncGates()
    ask, ask_async = decorated(cache, model), decorated_async(cache, model_async)

    async def main():
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            threaded = loop.run_in_executor(pool, ask, "x")
            flier = await loop.run_in_executor(None, model.begun)
            task = asyncio.create_task(ask_async("x"))
            await until_in_loop(lambda: waiting(cache) == 1)
            flier.put(ValueError("told to"))
            (await model_async.begun()).set_result("answer")
            return await asyncio.gather(threaded, task, return_exceptions=True)

    failed, answered = run(main())
    assert isinstance(failed, ValueError)
    assert answered == "answer"


# Processes.

STAMPEDE = """
    import multiprocessing, os, sys
    from memollm import cached_llm

    CHILDREN = int(sys.argv[1])
    context = multiprocessing.get_context("fork")
    arrived, calls, answers = context.Semaphore(0), context.Value("i"), context.Queue()

    @cached_llm(pool=1)
    def ask(prompt):
        with calls:
            calls.value += 1
        for _ in range(CHILDREN):
            # Nobody is answered before all have asked.
            arrived.acquire()
        return os.getpid()

    def child():
        arrived.release()
        answers.put(ask("x"))

    children = [context.Process(target=child) for _ in range(CHILDREN)]
    for process in children:
        process.start()
    print(len({answers.get() for _ in children}), calls.value)
    for process in children:
        process.join()
        assert process.exitcode == 0
"""
FLIGHT = """
    import os, sys
    from memollm import cached_llm
    from memollm.stores.sqlite.store import SqliteStore

    watch = SqliteStore.watch

    def watch_and_say(self, places, wake):
        stop = watch(self, places, wake)
        print("waiting")
        return stop

    SqliteStore.watch = watch_and_say

    @cached_llm(pool=1)
    def ask(prompt):
        with open("flights", "w") as flights:
            flights.write(f"{os.getpid()}\\n")
        if sys.stdin.readline() == "fail\\n":
            raise ValueError("told to")
        return os.getpid()

    try:
        print(ask("x"))
    except ValueError as error:
        print(error)
"""


class Flights:
    """Hears from the programs, through a pipe, which of them flies."""

    def __init__(self, folder):
        os.mkfifo(folder / "flights")
        self._descriptor = os.open(folder / "flights", os.O_RDWR | os.O_NONBLOCK)

    def next(self, patience=PATIENCE):
        """Return the process id of the next flier, or None if nobody flies in time."""
        readable, _, _ = select.select([self._descriptor], [], [], patience)
        return int(os.read(self._descriptor, 100)) if readable else None

    def close(self):
        os.close(self._descriptor)


@pytest.fixture
def flights(project):
    project.write("flight.py", FLIGHT)
    flights = Flights(project.folder)
    yield flights
    flights.close()


@pytest.mark.parametrize("several", [25, pytest.param(50, marks=pytest.mark.deep)])
def test_many_processes_that_want_one_slot_make_one_call(project, several):
    """P5: of many processes that ask at once for one slot one flies, and all get its answer."""
    project.write("stampede.py", STAMPEDE)
    # So many processes take their time to begin where other tests run beside them.
    assert project.run("stampede.py", several, deadline=110) == ["1 1"]


@pytest.mark.parametrize("how", ["killed", "raises"])
def test_when_the_flying_process_ends_one_waiter_takes_over(project, flights, how):
    """P5: when the process that flies is killed or raises, exactly one of those that wait takes over."""
    first = project.start("flight.py")
    assert flights.next() == first.pid
    others = [project.start("flight.py") for _ in range(4)]
    for other in others:
        assert other.line() == "waiting"
    if how == "killed":
        first.kill()
    else:
        first.say("fail")
        assert first.finish() == ["told to"]
    second = flights.next()
    (flier,) = [other for other in others if other.pid == second]
    flier.say("go on")
    answers = [[line for line in other.finish() if line != "waiting"] for other in others]
    assert answers == [[str(second)]] * 4
    assert flights.next(patience=0) is None


def test_a_refused_answer_frees_its_slot_at_once(cache):
    """P5: who waits for the slot takes over while the draw that was refused goes on with its next call."""
    model = Gates()
    ask = cache.cached_llm(lambda prompt: model.fly(), name="ask", version=1, accept=lambda answer: answer != "bad")
    with ThreadPoolExecutor(2) as pool:
        two = pool.submit(ask.with_options(namespace="a").draw, 2, "x")
        model.begun().put("bad")
        second = model.begun()
        one = pool.submit(ask.with_options(namespace="b"), "x")
        model.begun().put("good")
        assert one.result(PATIENCE) == "good"
        second.put("fine")
        assert two.result(PATIENCE) == ["bad", "fine"]
