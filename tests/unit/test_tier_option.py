"""`tier=`: what it may be, who may say it, and how it is shown."""

import pickle
from pathlib import Path

import pytest

from memollm import Cache, OptionError, cached_llm, configure, default_cache
from memollm._calls.configuration import configuration
from memollm._calls.tiers import name_of_cache
from memollm.stores.tier.store import TierStore

pytest.importorskip("redis")
URL = "redis://:hush@127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def shared_key(monkeypatch):
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "0123456789abcdef" * 4)


@pytest.mark.parametrize("place", ["here", "memory:", None, Path("here"), "s3://bucket/prefix"])
def test_a_tier_before_no_server_is_refused(place):
    """Copies of what is on this machine anyway would help nobody; machines without a server share by a bucket."""
    with pytest.raises(OptionError, match=r"stands before a server .* is none\. .*Cache\('s3://bucket/prefix'\)"):
        Cache(place, tier="tier")


@pytest.mark.parametrize(
    "tier", ["", "gs://bucket/prefix", "az://account/box", "postgresql://me:hush@host/db", 7, ":memory:"]
)
def test_what_is_no_tier_is_refused(tier):
    """A tier is a folder or memory; what a URL holds is not shown."""
    with pytest.raises(OptionError, match=r"tier=.*: a tier is a folder of this machine") as refused:
        Cache(URL, tier=tier)
    assert "hush" not in str(refused.value)


def test_a_tier_is_shown(project):
    """The cache, its errors and its copies in other processes say which tier it has."""
    cache = Cache(URL, tier="near")
    shown = f"Cache('redis://…@127.0.0.1:1/0', tier='{project / 'near'}')"
    assert repr(cache) == shown
    assert cache.__memollm_engine__().place == f"memollm.{shown}"
    again = pickle.loads(pickle.dumps(cache))
    assert repr(again) == shown
    assert isinstance(again.store, TierStore)
    assert not (project / "near").exists()


def test_a_configured_tier_stands_before_servers_alone(monkeypatch, project):
    """Code wins over the environment, which wins over the project; a cache on this machine has no use for it."""
    (project / "pyproject.toml").write_text('[tool.memollm]\ntier = "of-project"\n')
    monkeypatch.setattr(configuration, "_project", None)
    places = [Cache(URL).store.shown_tier]
    monkeypatch.setenv("MEMOLLM_TIER", "of-environment")
    configure(namespace="a")
    places.append(Cache(URL).store.shown_tier)
    configure(tier="of-code", cache=URL)
    places += [Cache(URL).store.shown_tier, default_cache().store.shown_tier, Cache(URL, tier="said").store.shown_tier]
    assert [Path(place).name for place in places] == ["of-project", "of-environment", "of-code", "of-code", "said"]
    assert {Path(place).parent for place in places} == {project}
    assert not isinstance(Cache("here").store, TierStore)


def test_functions_of_one_process_share_a_cache_and_its_tier():
    """A URL means one cache for all functions of a process, by the tier that it has."""
    configure(tier="memory:")
    engines = {id(configured.cache_engine) for configured in map(Named, range(2))}
    configure(tier="another")
    assert len(engines | {id(Named(3).cache_engine)}) == 2


class Named:
    """A function that names the cache by its URL."""

    def __init__(self, number):
        from memollm._calls.engines import engine_of

        self.function = cached_llm(cache=URL, name=f"f{number}")(lambda text: text)
        self.cache_engine = engine_of(URL)


@pytest.mark.parametrize("tier", ["../outside", "/tmp/outside", "redis://host", "~/outside"])
def test_a_project_names_no_tier_outside_of_it(project, monkeypatch, tier):
    """A project may come from anybody: copies of samples stay inside of it."""
    (project / "pyproject.toml").write_text(f'[tool.memollm]\ntier = "{tier}"\n')
    monkeypatch.setattr(configuration, "_project", None)
    with pytest.raises(OptionError, match=r"tier=.* lies outside of the project.*MEMOLLM_TIER"):
        Cache(URL)


def test_a_file_is_named_by_the_cache():
    """Who asks, and how, makes no other cache; another database, schema or prefix does."""
    same = {name_of_cache(url) for url in (URL, "redis://127.0.0.1:1/0?lease=3", "redis://me:other@127.0.0.1:1/0")}
    assert len(same) == 1
    others = [f"{URL}?prefix=a", "redis://127.0.0.1:1/1", "redis://127.0.0.1:2/0", "redis://host:1/0"]
    assert len({*same, *map(name_of_cache, others)}) == 5
    assert same.pop().startswith("127.0.0.1-")


def test_a_database_is_told_by_all_that_names_it(monkeypatch):
    """What libpq reads of a URL besides its path, and of the environment, names another cache, too."""
    url = "postgresql://host"
    named = [f"{url}?{each}=a" for each in ("dbname", "host", "hostaddr", "port", "service", "schema")]
    names = {name_of_cache(each) for each in (url, *named)}
    for variable in ("PGHOST", "PGPORT", "PGDATABASE", "PGSERVICE"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "b")
            names.add(name_of_cache(url))
    assert len(names) == 11
