"""Where settings come from, in their order, and how wrong ones are told."""

from __future__ import annotations

import pytest

import memollm
from memollm import Cache, OptionError, configure
from memollm._context import Configuration


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
    monkeypatch.setattr("memollm._context.ROOT_MARKS", (".no-such-mark",))
    memollm.cached_llm(lambda x: x, name="f", version=1)(1)
    assert (tmp_path / "data" / "memollm" / "memollm.db").exists()
