"""Where settings come from, in their order, and how wrong ones are told."""

from __future__ import annotations

import pytest

import memollm
from memollm import Cache, OptionError, configure
from memollm._calls.configuration import Configuration, configuration


def test_code_wins_over_the_environment_wins_over_the_project(project, monkeypatch):
    """One order of precedence for every setting."""
    (project / "pyproject.toml").write_text('[tool.memollm]\nnamespace = "project"\n')
    configuration = Configuration()
    assert configuration.get("namespace") == "project"
    monkeypatch.setenv("MEMOLLM_NAMESPACE", "environment")
    assert configuration.get("namespace") == "environment"
    configuration.say(namespace="code")
    assert configuration.get("namespace") == "code"
    configuration.say(namespace=None)
    assert configuration.get("namespace") == "environment"


def test_a_path_in_the_project_file_is_relative_to_it(project, monkeypatch):
    """The cache is the same from whichever folder of the project a program is started."""
    (project / "pyproject.toml").write_text('[tool.memollm]\ncache = "results/cache"\n')
    inner = project / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert Configuration().get("cache") == str(project / "results" / "cache")


def test_an_unknown_setting_names_the_nearest_known(project):
    """A misspelt setting is an error, wherever it stands."""
    with pytest.raises(OptionError, match=r"no option 'name_space'\. Did you mean 'namespace'"):
        configure(name_space="a")
    (project / "pyproject.toml").write_text('[tool.memollm]\ncahce = "x"\n')
    with pytest.raises(OptionError, match=r"pyproject.toml: there is no option 'cahce'. Did you mean 'cache'"):
        Configuration().get("cache")


def test_an_unknown_variable_names_the_nearest_known(project, monkeypatch):
    """A misspelt variable would silently not hold, so it is an error at the first draw; others are not ours."""
    monkeypatch.setattr(configuration, "_project", None)
    ask = memollm.cached_llm(str.upper, name="ask", version=1, cache="memory:")
    monkeypatch.setenv("MEMOLLM_NAMESAPCE", "a")
    with pytest.raises(OptionError, match=r"MEMOLLM_NAMESAPCE, which is no setting\. Did you mean 'MEMOLLM_NAMESPACE'"):
        ask("x")
    monkeypatch.delenv("MEMOLLM_NAMESAPCE")
    monkeypatch.setenv("MEMOLLM_RUN", "r")
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "k")
    monkeypatch.setenv("MEMO_LLM", "somebody else's")
    assert ask("x") == "X"
    monkeypatch.setenv("MEMOLLM_NAMESAPCE", "said while it runs")
    configure(namespace=None)
    with pytest.raises(OptionError, match="MEMOLLM_NAMESAPCE"):
        ask("y")


@pytest.mark.parametrize("variable", ["MEMOLLM_PRICES", "MEMOLLM_ON_DRAW"])
def test_what_no_environment_can_say(monkeypatch, variable):
    """A table and a function are said in code; a variable for them would not hold."""
    monkeypatch.setenv(variable, "x")
    with pytest.raises(OptionError, match=variable):
        Configuration().get("namespace")


def test_what_no_project_file_can_say(project):
    """A function is said in code."""
    (project / "pyproject.toml").write_text('[tool.memollm]\non_draw = "print"\n')
    with pytest.raises(OptionError, match="there is no option 'on_draw'"):
        Configuration().get("namespace")


def test_prices_in_the_project_file(project):
    """A table of prices may stand in pyproject.toml; a wrong one is told by its place."""
    file = project / "pyproject.toml"
    file.write_text('[tool.memollm.prices]\n"small-*" = [1.0, 10.0]\nlarge = { input = 20.0, output = 100.0 }\n')
    assert Configuration().get("prices") == {"small-*": [1.0, 10.0], "large": {"input": 20.0, "output": 100.0}}
    file.write_text("[tool.memollm.prices]\nsmall = [1.0]\n")
    with pytest.raises(OptionError, match=r"pyproject.toml: prices\['small'\]"):
        Configuration().get("prices")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"prices": {"small": -1}}, "prices"),
        ({"prices": [1]}, "prices"),
        ({"mode": "offlin"}, "'offline'"),
        ({"namespace": ""}, "namespace=''"),
        ({"on_draw": "print"}, "on_draw='print'"),
        ({"keep_arguments": "maybe"}, "keep_arguments='maybe'"),
        ({"ttl": "7d"}, "no option 'ttl'"),
    ],
)
def test_a_wrong_setting_in_code_changes_nothing(said, reason):
    """It is refused where it is said, with what was said beside it, and what held before still holds."""
    configuration = Configuration()
    configuration.say(namespace="before")
    with pytest.raises(OptionError, match=reason):
        configuration.say(**{"namespace": "after", **said} if "namespace" not in said else said)
    assert configuration.get("namespace") == "before"


def test_who_said_a_setting(project, monkeypatch):
    """A setting tells where it comes from, for whoever looks for the reason."""
    (project / "pyproject.toml").write_text('[tool.memollm]\nmode = "offline"\n')
    configuration = Configuration()
    assert configuration.said("namespace") == (None, "default")
    assert configuration.said("mode") == ("offline", f"[tool.memollm] in {project / 'pyproject.toml'}")
    monkeypatch.setenv("MEMOLLM_MODE", "off")
    assert configuration.said("mode") == ("off", "MEMOLLM_MODE")
    configuration.say(mode="auto")
    assert configuration.said("mode") == ("auto", "memollm.configure")


def test_a_configured_namespace_comes_after_the_decorator(cache):
    """with_options, then a context manager, the decorator, and last what is configured."""
    ask = cache.cached_llm(str.upper, name="ask", version=1)
    configure(namespace="configured")
    ask("x")
    decorated = cache.cached_llm(str.upper, name="ask", version=1, namespace="decorated")
    decorated("x")
    with memollm.namespace("around"):
        decorated("x")
        ask("x")
        decorated.with_options(namespace="insisted")("x")
    assert {space.name: space.draws for space in cache.namespaces()} == {
        "configured": 1,
        "decorated": 1,
        "around": 2,
        "insisted": 1,
    }


def test_a_switch_in_the_environment(monkeypatch):
    """On and off are said in the usual words; anything else is an error that names them."""
    for text, meant in (("0", False), ("off", False), ("True", True), ("yes", True)):
        monkeypatch.setenv("MEMOLLM_KEEP_ARGUMENTS", text)
        assert Configuration().get("keep_arguments") is meant
    monkeypatch.setenv("MEMOLLM_KEEP_ARGUMENTS", "maybe")
    with pytest.raises(OptionError, match="MEMOLLM_KEEP_ARGUMENTS='maybe'"):
        Configuration().get("keep_arguments")


def test_a_configured_default_reaches_functions_that_were_decorated_before(tmp_path):
    """`configure` changes where a function draws from then on."""

    @memollm.cached_llm(name="ask", version=1)
    def ask(prompt):
        return prompt

    with Cache("memory:") as one, Cache("memory:") as two:
        for cache in (one, two):
            configure(cache=cache, namespace="n")
            assert ask("x") == "x"
            assert [space.draws for space in cache.namespaces()] == [1]
    configure(cache=None, namespace=None)


def test_the_default_place_is_the_project(project):
    """The cache lies at the project's root and keeps itself out of git."""

    @memollm.cached_llm
    def ask(prompt):
        return prompt

    ask("x")
    assert (project / ".memollm" / "memollm.db").exists()
    assert (project / ".memollm" / ".gitignore").read_text() == "*\n"


def test_outside_a_project_the_user_has_a_cache(tmp_path, monkeypatch):
    """Where no parent looks like a project, the user's data folder is used."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("memollm._types.paths.ROOT_MARKS", (".no-such-mark",))
    memollm.cached_llm(lambda x: x, name="f", version=1)(1)
    assert (tmp_path / "data" / "memollm" / "memollm.db").exists()
