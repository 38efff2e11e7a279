"""What tokens cost, to the cent: told, by the user's table, or by the prices that genai-prices brings along."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from memollm import OptionError
from memollm._spending import prices
from memollm._spending.prices import price, require_table
from memollm._spending.usage import Usage

MILLION = 1_000_000
TABLE = {
    "gpt-5*": (1.0, 10.0),
    "gpt-5-mini": {"input": 0.25, "output": 2.0, "cached": 0.025, "cache_write": 0.5},
    "gpt-5-nano*": [0.05, 0.4],
    "local/*": (0, 0),
    "embed": {"input": 0.02},
}
UNPRICED = "a-model-that-nobody-sells"


def test_what_the_provider_says_is_the_cost():
    """A cost that was told stands, whatever a table says."""
    assert price(Usage(MILLION, MILLION, 0.125, "gpt-5"), TABLE) == 0.125


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(MILLION, 100_000, model="gpt-5"), 2.0),
        (Usage(MILLION, 100_000, model="gpt-5-mini"), 0.45),
        (Usage(MILLION, 0, model="gpt-5-mini", cached_tokens=400_000), 0.16),
        (Usage(MILLION, 0, model="gpt-5-mini", cached_tokens=400_000, cache_write_tokens=600_000), 0.31),
        (Usage(MILLION, 0, model="gpt-5", cached_tokens=400_000, cache_write_tokens=600_000), 1.0),
        (Usage(MILLION, MILLION, model="gpt-5-nano-2025-08-07"), 0.45),
        (Usage(MILLION, MILLION, model="local/llama"), 0.0),
        (Usage(MILLION, 5, model="embed"), 0.02),
        (Usage(100, 0, model="gpt-5-mini", cached_tokens=MILLION, cache_write_tokens=5), 0.0000025),
    ],
)
def test_a_table_prices_to_the_cent(usage, dollars):
    """Cached and written tokens have their own prices where the table says so, and that of input otherwise."""
    assert price(usage, TABLE) == pytest.approx(dollars, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "output"),
    [
        ("gpt-5-mini", 2.0),
        ("openai/gpt-5-mini", 2.0),
        ("openrouter/openai/gpt-5-mini", 2.0),
        ("gpt-5-mini-2025-08-07", 2.0),
        ("openai/gpt-5-mini-20250807", 2.0),
        ("gpt-5-mini-high", 10.0),
        ("gpt-5-nano-x", 0.4),
        ("openai/gpt-5-nano-x", 0.4),
    ],
)
def test_a_model_is_found_in_the_table_as_closely_as_it_is_named(model, output):
    """The name goes before the longest pattern; provider and date may be left out of a table."""
    assert price(Usage(0, MILLION, model=model), TABLE) == output


def test_a_pattern_for_all_prices_what_names_no_model():
    """Some results do not say their model."""
    assert price(Usage(MILLION), {"*": (3, 4)}) == 3.0
    assert price(Usage(MILLION), TABLE) is None


def test_a_table_may_change():
    """Nothing of a user's table is remembered."""
    table = {"mine": (1, 1)}
    assert price(Usage(MILLION, model="mine"), table) == 1.0
    table["mine"] = (2, 2)
    assert price(Usage(MILLION, model="mine"), table) == 2.0


# genai-prices: models whose prices have not changed since they came out.


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("gpt-4o-2024-08-06", 0.25 + 0.1),
        ("openai/gpt-4o-2024-08-06", 0.25 + 0.1),
        ("azure/gpt-4o-2024-08-06", 0.25 + 0.1),
        ("openai/responses/gpt-4o-2024-08-06", 0.25 + 0.1),
        ("claude-sonnet-4-20250514", 0.3 + 0.15),
        ("anthropic/claude-sonnet-4-20250514", 0.3 + 0.15),
        ("openrouter/anthropic/claude-sonnet-4", 0.3 + 0.15),
        ("vertex_ai/claude-sonnet-4@20250514", 0.3 + 0.15),
        ("anthropic.claude-3-haiku-20240307-v1:0", 0.025 + 0.0125),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", 0.025 + 0.0125),
        ("bedrock/us-west-2/anthropic.claude-3-haiku-20240307-v1:0", 0.025 + 0.0125),
        ("bedrock/converse/anthropic.claude-3-haiku-20240307-v1:0", 0.025 + 0.0125),
        ("models/gemini-2.5-flash", 0.03 + 0.025),
        ("text-embedding-3-small", 0.002),
    ],
)
def test_listed_models_have_their_price_under_every_name(model, dollars):
    """Provider prefixes, routes and Bedrock's names lead to the same model."""
    assert price(Usage(100_000, 10_000, model=model), None) == pytest.approx(dollars, rel=1e-9)


def test_the_listed_price_of_cached_tokens_counts():
    """Reading from the cache is cheaper than input, and writing to Anthropic's is dearer."""
    assert price(Usage(100_000, 0, None, "gpt-4o-2024-08-06", 40_000), None) == pytest.approx(0.15 + 0.05)
    claude = Usage(100_000, 0, None, "claude-sonnet-4-20250514", 40_000, 20_000)
    assert price(claude, None) == pytest.approx(0.4 * 0.3 + 0.4 * 0.03 + 0.2 * 0.375)
    assert price(claude._replace(cached_tokens=MILLION), None) == pytest.approx(0.03)


@pytest.mark.parametrize("model", [UNPRICED, "", "/", "ollama/gpt-4o-2024-08-06", f"openai/{UNPRICED}", None])
def test_an_unknown_model_has_no_price(model):
    """A price is never guessed: not from a similar name, and not from another seller's."""
    assert price(Usage(5, 5, model=model), None) is None


def test_the_table_goes_before_the_list():
    """What the user says holds, and what the user does not say is looked up."""
    assert price(Usage(MILLION, model="gpt-4o-2024-08-06"), {"gpt-4o*": (1, 1)}) == 1.0
    assert price(Usage(100_000, model="gpt-4o-2024-08-06"), TABLE) == pytest.approx(0.25)


def test_a_model_is_looked_up_once(monkeypatch):
    """Where a model is listed, or that it is not, is remembered, and only so much is."""
    monkeypatch.setattr(prices, "_known", {})
    price(Usage(1, model=UNPRICED), None)
    monkeypatch.setattr(prices, "_places", None)
    assert price(Usage(1, model=UNPRICED), None) is None
    monkeypatch.setattr(prices, "_places", lambda _: iter(()))
    monkeypatch.setattr(prices, "REMEMBERED", 2)
    for model in "abc":
        price(Usage(1, model=model), None)
    assert set(prices._known) == {UNPRICED, "a"}


def test_nothing_is_fetched(monkeypatch):
    """Prices come from the installed package, never from the network."""

    def refuse(*_):
        raise AssertionError("somebody wants the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(prices, "_known", {})
    assert price(Usage(100_000, model="gpt-4o-2024-08-06"), None) == pytest.approx(0.25)
    assert price(Usage(100_000, model=UNPRICED), None) is None


def test_without_the_package_only_told_and_tabled_costs_are_known():
    """A model has no price then, which is no error; and where no model is named the package is not imported."""
    program = """
import sys
sys.modules["genai_prices"] = None
from memollm._spending.prices import price
from memollm._spending.usage import Usage
table = {"a": (1, 2)}
print(price(Usage(5, model="gpt-4o"), None), price(Usage(10**6, model="a"), table), price(Usage(5, cost=2.0), None))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["None", "1.0", "2.0"]


def test_the_package_is_imported_when_a_price_is_needed():
    """Importing memollm, and prices out of a table, leave it alone."""
    program = """
import sys
import memollm
from memollm._spending.prices import price
from memollm._spending.usage import Usage
price(Usage(5, model="a"), {"a": (1, 2)}), price(Usage(5), None), price(Usage(5, cost=2.0, model="gpt-4o"), None)
print("genai_prices" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["False"]


# The user's table.


def test_a_good_table_is_taken():
    """Pairs, lists of two, and prices by name."""
    assert require_table("prices", TABLE) == TABLE
    assert require_table("prices", {}) == {}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([("a", 1)], "prices=[('a', 1)]: it must map models to dollars per million tokens"),
        ({3: (1, 2)}, "prices: 3 must be the name of a model"),
        ({"": (1, 2)}, "prices: '' must be the name of a model"),
        ({"a": 3}, "prices['a']=3: it must be the prices of input and output"),
        ({"a": "12"}, "prices['a']='12': it must be the prices"),
        ({"a": (1, 2, 3)}, "prices['a']=(1, 2, 3): it must be the prices"),
        ({"a": {"inputs": 1}}, "prices['a'] has no price 'inputs'. Did you mean 'input'?"),
        ({"a": {"output": 1}}, "does not say what input costs"),
        ({"a": (1, -2)}, "prices['a']: output=-2 must be dollars per million tokens"),
        ({"a": (True, 2)}, "prices['a']: input=True must be"),
        ({"a": {"input": 1, "cached": float("nan")}}, "prices['a']: cached=nan must be"),
        ({"a": {"input": "1"}}, "prices['a']: input='1' must be"),
    ],
)
def test_a_wrong_table_is_refused_with_what_is_wrong(table, message):
    """The error names the place, the reason and what to write."""
    with pytest.raises(OptionError) as caught:
        require_table("prices", table)
    assert message in str(caught.value)
