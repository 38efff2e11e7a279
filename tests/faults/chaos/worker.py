"""A program under test: it draws in threads, event loops and children, and does meanwhile what else a user may do."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import traceback
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import memollm
from memollm import Cache, MemollmError, OptionError, StoreRefused

from .drawing import (
    EXPECTED,
    Operation,
    choose,
    draw,
    draw_async,
    in_mode,
    logged,
    note_slot,
    replay_all,
    tell_warnings,
)
from .functions import POOLS, decorated, model
from .logs import Logs, new_name

OURS = str(Path(memollm.__file__).parent)


class Worker:
    """One process of a round."""

    def __init__(self, plan, seed, how="program"):
        self.plan = plan
        self.dice = random.Random(seed)
        self.logs = Logs(Path("logs"))
        model.log, model.fails = self.logs.calls, plan["fails"]
        model.refuses = plan["refuses"]
        memollm.configure(on_draw=note_slot)
        tell_warnings(self.logs.deeds)
        sys.unraisablehook = lambda fault: self.fault(fault.exc_value)
        threading.excepthook = lambda fault: self.fault(fault.exc_value)
        signal.signal(signal.SIGINT, interrupt)
        self.open()
        self.born(how)

    def born(self, how):
        """Say that this process draws from now on."""
        stacks = os.open(f"stacks/{os.getpid()}", os.O_WRONLY | os.O_CREAT, 0o600)
        faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
        self.logs.signals.say(what="born", how=how)

    def open(self):
        self.cache = Cache("cache")
        self.functions = decorated(self.cache)

    def fault(self, error):
        """Write down what should not have happened."""
        if error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
            text = "".join(traceback.format_exception(error))[-3000:]
            self.logs.deeds.say(what="fault", text=text)

    # Threads and loops.

    def run(self):
        threads = [
            threading.Thread(target=self.guarded, args=(work, self.dice.random()))
            for work in [self.plain] * self.plan["threads"] + [self.loop] * self.plan["loops"]
        ]
        for thread in threads:
            thread.start()
        self.guarded(self.loop_in_main if self.plan["main_loop"] else self.plain, self.dice.random())
        for thread in threads:
            thread.join()

    def guarded(self, work, seed):
        try:
            work(random.Random(seed), self.plan["steps"])
        except BaseException as error:  # noqa: BLE001 - told at the end
            self.fault(error)

    def plain(self, dice, steps, *, deeds=True):
        for _ in range(steps):
            if deeds and dice.random() < self.plan["deeds"]:
                self.do(dice, dice.choice(self.plan["what"]))
            else:
                self.draw(self._choice(dice, is_async=False))

    def _choice(self, dice, *, is_async):
        plan = self.plan
        return choose(dice, plan["readers"], plan["prompts"], is_async=is_async, refreshes="refresh" in plan["what"])

    def draw(self, op):
        # What is expected to go wrong ends here.
        try:
            with logged(self.logs.draws, op), in_mode(op):
                draw(self.functions, op)
        except EXPECTED:
            pass

    def loop(self, dice, steps):
        asyncio.run(self._tasks(dice, steps))

    def loop_in_main(self, dice, steps):
        """Have a Ctrl-C cancel what the main task waits for, as `asyncio.run` does."""
        asyncio.run(self._tasks(dice, steps, interruptible=True))

    async def _tasks(self, dice, steps, *, interruptible=False):
        tasks = set()
        if interruptible:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGINT, lambda: [task.cancel() for task in tasks])
        while steps:
            some, steps = min(steps, dice.randint(1, 8)), max(0, steps - 8)
            tasks |= {asyncio.create_task(self._draw_async(self._choice(dice, is_async=True))) for _ in range(some)}
            if dice.random() < self.plan["cancels"]:
                await asyncio.sleep(dice.choice([0, 0, 0.001, 0.004, 0.02]))
                dice.choice(list(tasks)).cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and task.exception():
                    self.fault(task.exception())
            tasks.clear()
        if interruptible:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, interrupt)

    async def _draw_async(self, op):
        try:
            with logged(self.logs.draws, op), in_mode(op):
                await draw_async(self.functions, op)
        except EXPECTED:
            pass

    # What is done besides.

    def do(self, dice, what):
        if what == "refresh":
            return
        if what in {"fork", "child", "pool"}:
            getattr(self, what)(dice)
            return
        readers = [name for name in self.plan["readers"] if name.startswith("namespace:")]
        deed = {"what": what, "reader": dice.choice(readers)}
        deed |= {"kind": dice.choice(["ask", "ask", *self.functions]), "prompt": dice.choice(self.plan["prompts"])}
        if what == "replay":
            self._replay(deed | {"kind": dice.choice([kind for kind in self.functions if kind not in POOLS])})
            return
        with self.said(deed):
            getattr(self, what)(dice, deed)

    @contextmanager
    def said(self, deed):
        name, outcome = new_name(), {"why": None}
        self.logs.deeds.say(**deed, deed=name, is_begun=True)
        try:
            yield
        except EXPECTED as error:
            outcome = {"why": type(error).__name__}
        except (OptionError, StoreRefused) as error:
            # The namespace has not drawn yet, or nobody has.
            outcome = {"why": type(error).__name__, "text": str(error)}
        except MemollmError as error:
            outcome = {"why": type(error).__name__, "text": str(error)}
            self.fault(error)
        finally:
            self.logs.deeds.say(**deed, deed=name, is_begun=False, **outcome)

    def rewind(self, dice, deed):
        self.cache.rewind(deed["reader"].partition(":")[2])

    def drop(self, dice, deed):
        self.cache.drop(deed["reader"].partition(":")[2])

    def forget(self, dice, deed):
        function = self.functions[deed["kind"]][0]
        function.forget([deed["prompt"]] if deed["kind"] == "batch" else deed["prompt"])

    def prune(self, dice, deed):
        self.cache.prune(max_samples=dice.choice([30, 60, 100]), policy=dice.choice(["lru", "fifo"]))

    def export(self, dice, deed):
        deed["file"] = f"exports/{new_name()}.jsonl"
        part = dice.choice([{}, {}, {"function": deed["kind"]}, {"namespace": deed["reader"].partition(":")[2]}])
        deed["part"] = json.dumps(part)
        self.cache.export(deed["file"], **part)

    def load(self, dice, deed):
        files = sorted(str(file) for file in Path("exports").glob("*.jsonl"))
        if files:
            deed["file"] = dice.choice(files)
            self.cache.load(deed["file"])

    def verify(self, dice, deed):
        verified = self.cache.verify()
        if not verified.ok:
            raise AssertionError(f"verify found {verified}")

    def close(self, dice, deed):
        closing, _ = self.cache, self.open()
        closing.close()

    def _replay(self, deed):
        op = Operation("replay", deed["kind"], [deed["prompt"]], deed["reader"], "replay")
        try:
            with logged(self.logs.draws, op), in_mode(op):
                replay_all(self.functions, op)
        except (*EXPECTED, memollm.CacheMiss):
            pass

    # Children.

    def fork(self, dice):
        seed = dice.random()
        child = os.fork()
        if child == 0:
            try:
                self.begin_in_child(seed, "fork")
                self.plain(random.Random(seed), self.plan["child_steps"], deeds=False)
                self.logs.signals.say(what="gone")
            except BaseException as error:  # noqa: BLE001 - told at the end
                self.fault(error)
            finally:
                os._exit(0)
        self.wait(lambda: os.waitpid(child, 0))

    def begin_in_child(self, seed, how):
        model.random.seed(seed)
        self.born(how)

    def child(self, dice):
        """Draw in a process of multiprocessing."""
        method = dice.choice(self.plan["methods"])
        process = multiprocessing.get_context(method).Process(target=work, args=(self.plan, dice.random(), method))
        process.start()
        self.wait(process.join)

    def pool(self, dice):
        """Draw in a pool; nobody kills those, as the standard library's pools do not always notice."""
        method = dice.choice(self.plan["methods"])
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            futures = [pool.submit(work, self.plan, dice.random(), f"pool of {method}") for _ in range(3)]
            self.wait(lambda: [future.result() for future in futures])

    @staticmethod
    def wait(end):
        end()


def interrupt(_, frame):
    """Interrupt what draws; an interrupt of ours elsewhere would only tell of this program.

    Python's own locks around imports do not outlive an interrupt: who imports next may wait for ever.
    """
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    if any(file.startswith(OURS) for file in files) and not any(file.startswith("<frozen importlib") for file in files):
        raise KeyboardInterrupt


_here: dict[int, Worker] = {}
"""The worker of this process, or of the one that it was forked from, by its id."""


def work(plan, seed, how):
    """Draw in a child of multiprocessing."""
    worker = _here.get(os.getpid())
    if worker is None and _here:
        # Forked: it draws on with what it has inherited.
        worker = next(iter(_here.values()))
        worker.begin_in_child(seed, how)
    elif worker is None:
        worker = Worker(plan, seed, how)
    _here.clear()
    _here[os.getpid()] = worker
    worker.plain(random.Random(seed), plan["child_steps"], deeds=False)


def main():
    seed = sys.argv[1]
    plan = json.loads(Path("plan.json").read_text(encoding="utf-8"))
    model.random.seed(seed)
    _here[os.getpid()] = worker = Worker(plan, seed)
    worker.run()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker.logs.signals.say(what="gone")


if __name__ == "__main__":
    main()
