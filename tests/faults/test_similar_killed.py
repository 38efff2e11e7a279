"""Similar calls under kills and at once: one flight for a text, nothing lost, and each text goes where it went."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

KINDS, FORMS = 6, 6
"""How many things are asked about, and in how many words each."""
MODEL = """
    import os, time, uuid
    import memollm
    from memollm import cached_llm
    from memollm.testing import hashed_ngrams

    called = os.open("called", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def embed(text):
        print("embed")
        return hashed_ngrams(text)

    similar = memollm.Similar("question", embed=memollm.Embedder(embed, name="hashed"), threshold=0.6)

    @cached_llm(similar=similar, pool=1, name="answer", version=1)
    def answer(question, *, model):
        made = uuid.uuid4().hex
        os.write(called, f"{question}\\t{model}\\t{made}\\n".encode())
        print("call")
        return made

    def texts(kinds, forms):
        return [f"Tell me all about item {kind}{'!' * form}" for kind in range(kinds) for form in range(forms)]
"""
WORKER = """
    import os, random, sys, threading
    from model import answer, texts

    seed, kinds, forms = map(int, sys.argv[1:])
    drawn = os.open("drawn", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def draw(number):
        asked = [(text, model) for text in texts(kinds, forms) for model in "ab"]
        random.Random(seed * 10 + number).shuffle(asked)
        for text, model in asked:
            got = answer(text, model=model)
            os.write(drawn, f"{text}\\t{model}\\t{got}\\n".encode())

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("done")
"""
KEPT = """
    import sys
    from model import answer, texts

    for text in texts(*map(int, sys.argv[1:])):
        for model in "ab":
            for own in answer.peek(text, model=model):
                print(f"{text}\\t{model}\\t{own}")
"""


def test_killed_processes_lose_nothing_and_agree(project):
    """P5, P7, P8: after SIGKILL in the middle of searches and calls every text has one answer, of its own kind."""
    stress(project, seed=1, processes=2, kills=3)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(10))
def test_many_killed_processes_lose_nothing_and_agree(project, seed):
    """P5, P7, P8: the same over more deaths, and several orders of them."""
    stress(project, seed, processes=4, kills=20)


def stress(project, seed, processes, kills):
    for name, text in (("model.py", MODEL), ("worker.py", WORKER), ("kept.py", KEPT)):
        project.write(name, text)
    choose, numbers = random.Random(seed), iter(range(1000))

    def start():
        return project.start("worker.py", seed * 1000 + next(numbers), KINDS, FORMS)

    workers = [start() for _ in range(processes)]
    died = 0
    for _ in range(kills):
        victim = choose.randrange(processes)
        for _ in range(choose.randrange(1, 8)):
            if workers[victim].line() == "done":
                break
        else:
            workers[victim].kill()
            died += 1
        workers[victim] = start()
    for worker in workers:
        worker.finish()
    check(project, died)


def check(project, died):
    """Judge by the logs of the model and of what was given, and by what is stored."""
    called, drawn = ([tuple(line.split("\t")) for line in project.lines(name)] for name in ("called", "drawn"))
    kept = {tuple(line.split("\t")) for line in project.run("kept.py", KINDS, FORMS) if "\t" in line}
    made = {answer: (text, model) for text, model, answer in called}
    given = defaultdict(set)
    for text, model, answer in drawn:
        of, by = made[answer]
        assert (of.rstrip("!"), by) == (text.rstrip("!"), model), "lent where the rest differs"
        given[text, model].add(answer)
    assert len(given) == KINDS * FORMS * 2
    assert {len(answers) for answers in given.values()} == {1}, "a text was given two answers"
    times = Counter((text, model) for text, model, _ in called)
    assert sum(times.values()) - len(times) <= died, "a text was asked for again without a death"
    assert {answer for answers in given.values() for answer in answers} <= {answer for *_, answer in kept}
    # Of what is the same but for its words, the first is asked for; the more are asked at once, the more of these.
    assert len(called) < KINDS * FORMS * 2
