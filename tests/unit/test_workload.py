"""The workload benchmarks: puzzles, the simulated model and clock, searches, what is counted, and estimators."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest

from benchmarks._caches import folder
from benchmarks._workload import estimation, quiz, trials, workload
from benchmarks._workload.applications import A1, A2, A4, result_of, run_all
from benchmarks._workload.audit import Audit
from benchmarks._workload.clock import run_simulated
from benchmarks._workload.crash import PUZZLES as CRASHED_PUZZLES, crash
from benchmarks._workload.estimators import Estimate, pass_at, share, student, vote
from benchmarks._workload.model import Bill, SimulatedModel, mark_of, name_of, sample, text_of
from benchmarks._workload.players import AGAIN, solve
from benchmarks._workload.puzzles import (
    all_hands,
    expression,
    is_solution,
    moves,
    numbers_of,
    read_move,
    solvable,
    some_puzzles,
)
from benchmarks._workload.searches import State, resample
from benchmarks._workload.systems import CacheSaver, Memollm, MemollmJoins, MemollmWaves, NoCache, PlainCache

MINE = [Memollm, MemollmJoins, MemollmWaves]
HAND = (4, 8, 8, 13)


# Puzzles.


@pytest.mark.parametrize(
    ("hand", "can"),
    [((3, 3, 8, 8), True), ((1, 3, 4, 6), True), ((1, 1, 1, 1), False), ((13, 13, 13, 13), False), ((24,), True)],
)
def test_the_solver_knows(hand, can):
    """Also what needs fractions on the way: 8 / (3 - 8 / 3)."""
    assert solvable(numbers_of(hand)) is can


@pytest.mark.deep
def test_as_many_hands_can_be_solved_as_were_published():
    """1362 of the 1820 hands."""
    assert sum(solvable(numbers_of(hand)) for hand in all_hands()) == 1362


def test_puzzles_are_distinct_have_solutions_and_stay():
    """A smaller number of puzzles is the beginning of a larger one."""
    puzzles = some_puzzles(12)
    assert len(set(puzzles)) == 12
    assert puzzles[:5] == some_puzzles(5)


def test_a_solution_that_the_solver_finds_is_one():
    """The judge of answers and the solver agree."""

    class Lucky:
        random = staticmethod(lambda: 0.0)

    for puzzle in some_puzzles(5):
        assert is_solution(puzzle, solve(numbers_of(puzzle), ("solve",), Lucky()))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "4 * 8 - 8",
        "4 * 8 - 8 + 13 - 13",
        "8 * (8 - 4) - 13",
        "13 / (4 - 4) + 8 - 8",
        "__import__('os')",
        "4 ** 8 + 8 - 13",
        "24.0",
        "(4 +",
    ],
)
def test_what_is_no_solution_is_refused(answer):
    """Numbers left out, used twice or not given, another value, anything that is not the four operations."""
    assert not is_solution(HAND, answer)


def test_moves_are_read_as_they_are_written():
    """Fractions and negative numbers included."""
    for move in moves(numbers_of((1, 3, 8, 8))):
        left, sign, right, result, rest = read_move(move.line())
        assert (left, sign, right) == (str(move.left), move.sign, str(move.right))
        assert (Fraction(result), rest) == (move.result, move.rest)


@pytest.mark.parametrize("line", ["", "nothing", "2 ? 8 = 10 (left: 10)", "2 + 8 = 10"])
def test_what_is_no_move_is_none(line):
    """A search goes on without it."""
    assert read_move(line) is None
    assert State.start(HAND).after(line) is None


def test_steps_become_an_expression():
    """A miscalculated step is written down as it was meant, so the judge sees that it is wrong."""
    steps = ["13 - 8 = 5 (left: 4 5 8)", "5 * 4 = 20 (left: 8 20)"]
    assert expression(HAND, [*steps, "20 + 8 = 28 (left: 28)"]) == "(((13 - 8) * 4) + 8)"
    assert expression(HAND, steps) == ""
    assert expression(HAND, ["5 - 4 = 1 (left: 1 8 13)"]) == ""


# The model and the clock.


def asked(model, *chats):
    async def main():
        return [answer for chat, n in chats for answer in await model.ask(chat, n)]

    return run_simulated(main())


def test_the_model_depends_on_nothing_but_seed_chat_and_number():
    """Asked in another order, or several at once, it gives the same samples; another seed gives others."""
    one, other = ("evaluate 4 8 8",), ("propose 4 8 8",)
    first, _ = asked(SimulatedModel(1), (one, 2), (other, 1), (one, 1))
    second, _ = asked(SimulatedModel(1), (other, 1), (one, 3))
    assert sorted(first) == sorted(second)
    assert asked(SimulatedModel(2), (one, 3))[0] != second[1:]


def test_the_model_samples():
    """Answers to one chat differ, and each has a mark of its own, which programs do not see."""
    answers, _ = asked(SimulatedModel(1), (("evaluate 4 8 8",), 50))
    assert len({text_of(answer) for answer in answers}) > 10
    assert {text_of(answer).rpartition("\n")[2] for answer in answers} == {"sure", "likely", "impossible"}
    assert [mark_of(answer).index for answer in answers] == list(range(50))
    assert {mark_of(answer).chat for answer in answers} == {name_of(("evaluate 4 8 8",))}


def test_a_request_pays_for_its_input_once():
    """Three samples in one request: one input, three outputs."""
    one, three = SimulatedModel(1), SimulatedModel(1)
    asked(one, *[(("step 4 8 8",), 1)] * 3)
    asked(three, (("step 4 8 8",), 3))
    assert one.bill == Bill(3, 3, 3 * three.bill.tokens_in, three.bill.tokens_out)
    assert three.bill.requests == 1
    assert one.bill.dollars > three.bill.dollars > 0


def test_time_is_simulated():
    """Hours pass at once, in the order of the clock."""

    async def sleeper(seconds):
        await asyncio.sleep(seconds)
        order.append(seconds)

    async def main():
        await asyncio.gather(*map(sleeper, (7200, 60, 3600)))

    order = []
    _, seconds = run_simulated(main())
    assert order == [60, 3600, 7200]
    assert seconds == pytest.approx(7200)


def test_time_does_not_overtake_the_work_of_threads():
    """What another thread is doing ends before any simulated time-out."""
    began, proceed = threading.Event(), threading.Event()

    def work():
        began.set()
        assert proceed.wait(30)
        return "done"

    def settle():
        assert began.wait(30)
        proceed.set()
        pool.submit(int).result()

    async def main():
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(pool, work), timeout=0.001)

    with ThreadPoolExecutor(1) as pool:
        assert run_simulated(main(), settle) == ("done", 0.0)


# What is counted.


def test_the_audit_notices_what_a_cache_does_wrong():
    """The same sample twice in one namespace; an answer made for another chat. In another namespace it is fine."""

    async def cheat(chat, n, namespace):
        return [sample(1, ("step 1 2",), 0)] * n

    async def main():
        await audit.watched(cheat, "a")(("step 1 2",), 2)
        await audit.watched(cheat, "b")(("step 1 2",), 1)
        assert (audit.delivered, audit.duplicates, audit.foreign) == (3, 1, 0)
        await audit.watched(cheat, "b")(("step 3 4",), 1)
        assert (audit.delivered, audit.duplicates, audit.foreign) == (4, 1, 1)

    audit = Audit()
    asyncio.run(main())


def test_agents_begin_anew_from_what_is_worth_more():
    """What is worth less than a tenth of the best is left out."""
    good, bad = State.start(HAND), State.start((1, 1, 1, 1))
    assert set(resample([(good, 20.0), (bad, 1.9)], 50, random.Random(1))) == {good}
    assert set(resample([(good, 20.0), (bad, 10.0)], 50, random.Random(1))) == {good, bad}
    assert resample([(good, 0.0)], 2, random.Random(1)) == [good, good]


@pytest.mark.parametrize("system", MINE)
def test_a_tiny_grid_with_memollm(system):
    """P1, P2, P8: nothing is given twice or to another chat, less is paid, and one more is nearly free."""
    application = A1._replace(configurations=A1.configurations[:3], last=(2,))
    puzzles = some_puzzles(2)
    bare, mine = (result_of(of, application, puzzles) for of in (NoCache, system))
    assert (mine.listed.duplicates, mine.listed.foreign) == (0, 0)
    assert mine.average(bare, lambda bill: bill.samples) > 1.5
    assert mine.marginal(bare, lambda bill: bill.dollars) > mine.average(bare, lambda bill: bill.dollars)


@pytest.mark.parametrize("system", MINE)
def test_agents_in_the_same_state_are_given_different_samples(system):
    """P1: seven agents begin with one prompt."""
    outcome = run_all(system, A2.configurations, some_puzzles(1))
    assert (outcome.duplicates, outcome.foreign) == (0, 0)
    assert outcome.bill.samples < outcome.delivered


def test_alone_on_one_puzzle_memollm_gives_what_no_cache_would_have():
    """P2: each chat's first try, in every configuration, is that of the model met afresh."""
    bare, mine = (run_all(system, A4.configurations, some_puzzles(1)) for system in (NoCache, Memollm))
    assert [run.solved for run in mine.runs] == [run.solved for run in bare.runs]
    assert mine.bill.samples == bare.runs[0].bill.samples
    assert all(run.bill.samples == 0 for run in mine.runs[1:])


def test_samples_of_one_chat_share_a_request():
    """Seven agents that want a sample each of the same prompt at one moment pay for it once, however they ask."""
    chat = ("step 4 8 8 13",)

    async def main(opened):
        answers = await asyncio.gather(*(opened.ask(chat, 1, "a") for _ in range(7)))
        await opened.close()
        return answers

    def bill(system, at):
        at.mkdir()
        model = SimulatedModel(1)
        opened = system(at, model)
        answers, _ = run_simulated(main(opened), opened.settle)
        assert len({answer for (answer,) in answers}) == 7
        return model.bill

    with folder() as at:
        assert bill(NoCache, at / "each")[:2] == (7, 7)
        assert bill(Memollm, at / "counted")[:2] == (1, 7)
        assert bill(MemollmWaves, at / "waves")[:2] == (1, 7)


def test_a_killed_run_has_lost_nothing_and_its_successor_repeats_nothing():
    """P1, P7, across the death of a process."""
    crashed = crash(Memollm)
    assert crashed.given > 50
    assert (crashed.lost, crashed.repeated) == (0, 0)
    assert crashed.paid == 500 - crashed.kept
    # Of each puzzle one may have been kept, and not given yet.
    assert crashed.given <= crashed.kept <= crashed.given + CRASHED_PUZZLES


def test_a_plain_cache_gives_one_answer_several_times():
    """The benchmark sees it, where diskcache is installed."""
    pytest.importorskip("diskcache")
    assert run_all(PlainCache, A2.configurations[:1], some_puzzles(1)).duplicates > 0


def test_cachesaver_takes_reordered_chats_for_one():
    """The benchmark sees it, where CacheSaver is installed."""
    pytest.importorskip("cachesaver")
    puzzle = ("solve 4 8 8 13",)
    chats = [(*puzzle, "a", AGAIN, "b", AGAIN), (*puzzle, "b", AGAIN, "a", AGAIN)]

    async def main():
        await audit.watched(opened.ask, "one")(chats[0], 1)
        await audit.watched(opened.ask, "other")(chats[1], 1)
        await opened.close()

    audit = Audit()
    with folder() as at:
        opened = CacheSaver(at, SimulatedModel(1))
        run_simulated(main())
    assert (audit.delivered, audit.foreign) == (2, 1)


# Statistics.


def test_pass_at_k_is_computed_as_by_hand():
    """Two of five are right: 2/5, 1 - 3/10, and surely one of five."""
    answers = ["right", "wrong", "right", "wrong", "worse"]
    assert [pass_at(answers, k) for k in (1, 2, 5)] == [pytest.approx(0.4), pytest.approx(0.7), 1.0]
    assert share(answers) == 0.4
    assert pass_at(["wrong"] * 3, 2) == 0.0


def test_votes_are_counted_and_ties_go_to_the_first():
    """Two against two: whoever was first."""
    assert vote(["right", "wrong", "wrong"]) == 0.0
    assert vote(["right", "wrong", "right"]) == 1.0
    assert vote(["right", "wrong", "wrong", "right"]) == 1.0
    assert vote(["wrong", "right", "wrong", "right"]) == 0.0


def test_the_truth_of_votes_is_computed_as_by_hand():
    """One vote; three votes between two answers; two votes, of which a tie is decided by lot."""
    p = 0.3
    assert quiz._vote((p, 1 - p), 1) == pytest.approx(p)
    assert quiz._vote((p, 1 - p), 3) == pytest.approx(p**3 + 3 * p**2 * (1 - p))
    assert quiz._vote((p, 0.5, 0.2), 2) == pytest.approx(p**2 + p * 0.7)


def test_the_quiz_is_answered_as_often_rightly_as_it_says():
    """Long answers are right three times as often as short ones."""
    answers = [text_of(sample(1, ("quiz 3 here",), index)) for index in range(4000)]
    long, short = ([answer for answer in answers if (len(answer) > 100) is is_long] for is_long in (True, False))
    shares = [share([quiz.verdict(answer) for answer in of]) for of in (answers, long, short)]
    expected = [quiz.right(3), quiz.when_long(3), quiz.when_long(3) / 3]
    assert shares == pytest.approx(expected, abs=0.035)


@pytest.mark.parametrize(("freedom", "quantile"), [(9, 2.262), (19, 2.093), (100, 1.984)])
def test_quantiles_of_students_distribution(freedom, quantile):
    """As in the tables."""
    assert student(0.975, freedom) == pytest.approx(quantile, abs=0.002)


def test_an_interval_is_computed_as_by_hand():
    """Ten repetitions with a standard deviation of one; several figures at once make it wider."""
    values = [(-1.0) ** i * 0.9**0.5 for i in range(10)]
    estimate = Estimate("figure", 0.7, values)
    assert estimate.half_width() == pytest.approx(2.262 / 10**0.5, abs=0.002)
    assert estimate.bias == pytest.approx(-0.7)
    assert estimate.is_inside()
    assert not Estimate("figure", 0.75, values).is_inside()
    assert Estimate("figure", 0.75, values).is_inside(figures=8)


@pytest.fixture
def short_trials(monkeypatch):
    monkeypatch.setattr(trials, "TASKS", range(12))
    monkeypatch.setattr(trials, "REPETITIONS", 3)


def test_memollm_estimates_what_no_cache_would_have(short_trials):
    """P1, P4, P6: the same samples in the same order; exactly what is missing is paid for."""
    bare, mine = trials.trial(NoCache), trials.trial(Memollm)
    alone = len(trials.PASSES) + len(trials.VOTES)
    assert mine.estimates[:alone] == bare.estimates[:alone]
    assert (mine.duplicates, mine.foreign) == (0, 0)
    assert mine.paid == 3 * 12 * (trials.SAMPLES + trials.EACH)


def test_slots_for_whoever_is_answered_first_are_biased(short_trials):
    """P6: the strawman's low slots hold short answers; those of memollm do not."""
    strawman, mine = trials.trial(trials.FirstAnswered), trials.trial(Memollm)
    assert strawman.estimates[-1].bias < -0.1
    assert abs(mine.estimates[-1].bias) < 0.1


# What is shown.


class Absent(NoCache):
    """A system that needs a package which nobody has."""

    name, needs = "absent", ("a_package_that_nobody_has",)


def test_the_workload_is_shown_and_judged(monkeypatch):
    """A table with each system, what is missing named and skipped, verdicts, and plain data."""
    monkeypatch.setattr(workload, "APPLICATIONS", (A4,))
    monkeypatch.setattr(workload, "SYSTEMS", (NoCache, Absent, *MINE))
    monkeypatch.setattr(workload, "KILLED", ())
    done = workload.begin(1)
    skipped, shown, _ = workload.measure(done)
    assert skipped == "absent: skipped, not installed: a_package_that_nobody_has"
    assert [line.split("  ")[0] for line in shown.strip().splitlines()[2:]] == ["no cache", *(of.name for of in MINE)]
    assert [row.met for row in workload.rows(done)] == [True] * 6
    listed = json.loads(json.dumps(workload.as_json(done)))["applications"]
    assert [(of["system"], of["duplicates"], of["foreign"]) for of in listed[1:]] == [(of.name, 0, 0) for of in MINE]


def test_the_estimates_are_shown_and_judged(monkeypatch, short_trials):
    """The same, and what is said of others than memollm is for information."""
    monkeypatch.setattr(estimation, "SYSTEMS", (NoCache, Absent, trials.FirstAnswered, Memollm))
    done = {}
    skipped, shown = estimation.measure(done)
    assert skipped == "absent: skipped, not installed: a_package_that_nobody_has"
    assert [of.name in shown for of in estimation.SYSTEMS] == [True, False, True, True]
    judged = {row.figure: row.met for row in estimation.rows(done)}
    assert judged["memollm: other than without a cache"]
    assert judged["first answered, first kept: biased, of 8"] is None
    assert len(json.loads(json.dumps(estimation.as_json(done)))["trials"]) == 3
