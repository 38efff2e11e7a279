"""The benchmarks' own arithmetic: rounds, targets, verdicts and pictures, and that each is documented."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as program, _check, _measure, _model, _peers
from benchmarks._measure import TIMES, Row, Spread, Target, absolute, each, in_turn, number, ratio, repeated
from benchmarks._picture import PLOT, Scale, groups, picture

DOCUMENT = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def drawn(rows, about="What is measured."):
    """Draw rows and parse what was drawn."""
    return ElementTree.fromstring(picture("one", about, rows, "a machine"))


def bars(svg):
    """Return the widths of the bars, from the top."""
    shapes = svg.iter(f"{SVG}rect")
    return [float(shape.get("width")) for shape in shapes if shape.get("class") in {"ours", "theirs"}]


def texts(svg):
    return ["".join(text.itertext()) for text in svg.iter(f"{SVG}text")]


def test_contenders_run_in_turn_and_the_first_round_is_left_out():
    """A round of one is followed by a round of the other, and warming up counts for neither."""
    order = []

    def contender(name):
        def timed(times):
            order.append(name)
            return float(len(order) * times)

        return timed

    times = in_turn({"a": contender("a"), "b": contender("b")}, rounds=2, number=4)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert times == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_what_is_timed_is_called_as_often_as_it_says():
    """A round of n makes n calls, of plain functions and of coroutine functions."""
    calls = itertools.count()

    async def coroutine():
        next(calls)

    repeated(lambda: next(calls))(7)
    with asyncio.Runner() as runner:
        _measure.repeated_async(runner, coroutine)(5)
    assert next(calls) == 12
    assert each(lambda times: 2.0 * times, 10)(1) == 2.0


def test_a_spread_is_the_median_between_the_quartiles():
    """One value has no spread; several have their quartiles."""
    assert Spread.of([3.0]) == (3.0, 3.0, 3.0)
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    assert Spread(1e-6, 2e-6, 4e-6).text(1e6) == "2 ±1.5"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "0.0123"), (1.777, "1.78"), (99.4, "99.4"), (1234.5, "1,234"), (0, "0")]
)
def test_figures_have_the_digits_that_mean_something(value, text):
    """Three digits, and none after the point of what is large."""
    assert number(value) == text


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    """What disturbs a round disturbs both sides of it."""
    row = ratio("hit", [1.0, 20.0, 3.0], "floor", [2.0, 10.0, 6.0], at_most=1)
    assert row.ratio == row.judged == 0.5
    assert row.met is True


def test_targets_bound_from_the_side_that_they_say():
    """A ratio, a number in a unit, and a lower bound are each compared as they are meant; none is no verdict."""
    assert ratio("hit", [2.0], "floor", [1.0], at_most=1.5).met is False
    assert ratio("rate", [2.0], "floor", [1.0], at_least=0.5, unit="/s").met is True
    assert ratio("rate", [2.0], "floor", [8.0], at_least=0.5, unit="/s").met is False
    assert absolute("wait", [0.099], at_most=100, unit="ms").met is True
    assert absolute("wait", [0.101], at_most=100, unit="ms").met is False
    assert ratio("hit", [2.0], "floor", [1.0]).met is None
    assert absolute("wait", [1.0], unit="s").met is None


def test_how_far_a_target_is_missed():
    """It is told as a part of the target, on either side."""
    assert math.isclose(Target("≤", 2.0).missed_by(3.0), 0.5)
    assert math.isclose(Target("≥", 2.0).missed_by(1.5), 0.25)


def test_rows_are_json():
    """All that a row holds survives, with the verdict."""
    row = ratio("hit", [3.0], "floor", [1.0], at_most=2, whose="in a large cache")
    kept = json.loads(json.dumps(row.as_json()))
    assert kept["measured"] == {"low": 3.0, "median": 3.0, "high": 3.0}
    assert kept["target"] == {"sign": "≤", "value": 2, "unit": ""}
    assert (kept["whose"], kept["ratio"], kept["met"]) == ("in a large cache", 3.0, False)


def test_the_check_names_what_is_missed_and_by_how_much():
    """A missed target is named with its figure, a met one is counted, a peer that is not there is told."""
    rows = [
        ratio("hit", [3.0], "the floor", [1.0], at_most=2),
        absolute("wait", [0.15], at_most=100, unit="ms"),
        ratio("draw", [1.0], "the floor", [1.0], at_most=2),
        ratio("for information", [9.0], "the floor", [1.0]),
    ]
    assert list(_check.lines(rows, ["hit: peer skipped"])) == [
        f"MISSED  hit: 3 {TIMES} the floor, must be ≤ 2 (50% off).",
        "MISSED  wait: 150 ms, must be ≤ 100 ms (50% off).",
        "left out  hit: peer skipped",
        "1 of 3 targets are met.",
    ]


@pytest.mark.parametrize(("seconds", "code"), [(1.0, 0), (3.0, 1)])
def test_the_check_fails_when_a_target_is_missed(seconds, code, capsys):
    """The exit code says it to a script."""
    rows = [ratio("hit", [seconds], "the floor", [1.0], at_most=2)]
    assert program.verdict([program.Measured("one", rows, [])]) == code
    assert ("MISSED" in capsys.readouterr().out) is bool(code)


def test_what_is_promised_can_be_measured():
    """Each benchmark that the check runs exists."""
    assert set(_check.PROMISED) <= set(program.names())


def test_a_cache_that_does_not_hit_is_no_figure():
    """A peer that calls the function while its hits are timed stops the benchmark."""
    paid = _model.plain()
    with pytest.raises(_peers.CalledAgain, match="forgetful"), _peers.only_hits("forgetful", paid):
        paid.function("x", model="m")


@pytest.mark.parametrize("peer", [_peers.MEMOLLM, _peers.BARE, *_peers.PEERS], ids=lambda peer: peer.name)
def test_peers_hit(peer, tmp_path):
    """What is installed answers twice and calls the function once; what is not is named."""
    if not peer.installed:
        assert list(_peers.missing("hit", [peer])) == [f"hit: {peer.name} skipped, {peer.package} is not installed"]
        return
    paid = _model.plain()
    with _peers.hit(peer, tmp_path, paid) as ask:
        assert ask() == _model.ANSWER
    assert paid.calls == [_model.PROMPT]


def test_bars_are_as_long_as_their_values():
    """On a linear scale twice the value is twice the width; a figure that stands in two rows is drawn once."""
    rows = [ratio("hit", [1e-6], "floor", [2e-6]), ratio("hit", [1e-6], "peer", [4e-6])]
    ours, floor, peer = bars(drawn(rows))
    assert floor == pytest.approx(2 * ours, abs=0.2)
    assert peer == pytest.approx(4 * ours, abs=0.4)
    assert peer <= PLOT


def test_values_far_apart_are_drawn_on_a_log_scale():
    """Equal factors are equal distances, the picture says so, and nothing leaves the plot."""
    scale = Scale([1e-6, 1e-3])
    assert scale.is_log
    assert scale.at(1e-4) - scale.at(1e-5) == pytest.approx(scale.at(1e-3) - scale.at(1e-4))
    assert scale.at(0.0) == 0.0 < scale.at(1e-6) < scale.at(1e-3) <= PLOT
    assert "µs, log scale" in texts(drawn([ratio("hit", [1e-6], "peer", [1e-3])]))


@pytest.mark.parametrize("values", [[0.0], [-1e-9, 0.0], [7.0], [1e-9, 1e9], [0.15, 1.0]])
def test_any_values_have_a_scale(values):
    """Ticks lie on the scale and are not many, whatever is drawn."""
    scale = Scale(values)
    assert 1 <= len(scale.ticks()) <= 20
    assert all(0 <= scale.at(value) <= PLOT for value in [*values, *scale.ticks()])


def test_units_have_scales_of_their_own():
    """Bytes do not flatten microseconds."""
    rows = [absolute("time", [2e-6], unit="µs"), absolute("size", [1e6], unit="bytes")]
    first, second = bars(drawn(rows))
    assert first == pytest.approx(second)


def test_a_target_stands_where_it_is():
    """The dashed line of a target of twice the floor lies twice as far as the floor's line."""
    svg = drawn([ratio("hit", [3e-6], "floor", [1e-6], at_most=2)])
    at = {path.get("class"): float(re.match(r"M([\d.]+)", path.get("d"))[1]) for path in svg.iter(f"{SVG}path")}
    start = float(next(shape for shape in svg.iter(f"{SVG}rect") if shape.get("class") == "ours").get("x"))
    assert at["target"] - start == pytest.approx(2 * (at["floor"] - start), abs=0.2)
    assert f"3 {TIMES} floor, must be ≤ 2" in texts(svg)
    assert [span.get("class") for span in svg.iter(f"{SVG}tspan")] == ["missed"]


def test_text_is_text():
    """Names with markup in them are shown as they are."""
    svg = drawn([ratio("a < b & c", [1.0], '<script>"', [1.0], unit="s")], about="1 < 2 & more")
    assert {"a < b & c", '<script>"', "1 < 2 & more"} <= set(texts(svg))


def test_the_same_rows_make_the_same_picture():
    """Bytes are equal, small, and readable in the dark."""
    rows = [ratio(f"figure {turn}", [1.0], f"peer {peer}", [2.0]) for turn in range(3) for peer in range(8)]
    once, again = (picture("one", "About.", list(rows), "a machine") for _ in range(2))
    assert once == again
    assert len(once) < 15_000
    assert "prefers-color-scheme:dark" in once


def test_sizes_of_ours_stand_in_order():
    """Where a large cache is held against a small one, the small one comes first."""
    (group,) = groups([ratio("hit", [2.0], "1,000 samples", [1.0], whose="100,000 samples")])
    assert [bar.label for bar in group.bars] == ["1,000 samples", "100,000 samples"]
    assert Row("hit", Spread.of([1.0]), "", None, "s", None, None, "100,000 samples").title == "hit, 100,000 samples"


@pytest.mark.parametrize("name", program.names())
def test_every_benchmark_is_documented(name):
    """Its first line says what it measures, and the document names it and shows its picture."""
    assert re.fullmatch(r".{20,}[.)]", program.about(name))
    assert f"`{name}`" in DOCUMENT
    assert f"benchmarks/{name}.svg" in DOCUMENT
