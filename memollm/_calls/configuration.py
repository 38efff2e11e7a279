"""What is configured for all functions: code says it first, then the environment, then pyproject.toml."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from memollm._calls.tiers import require_tier
from memollm._spending.budget import UNKNOWN
from memollm._spending.prices import require_table
from memollm._types.allowance import Allowance
from memollm._types.durations import seconds_of
from memollm._types.paths import root_above, working_directory
from memollm._types.secret import masked_url
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

MODES: Final = ("auto", "offline", "refresh", "readonly", "off", "resume")
ROOT_MARKS: Final = (".memollm", "pyproject.toml", ".git")
CONFIGURED: Final = "memollm.configure"
"""The origin of what code has set."""
OF_PROJECT: Final = "[tool.memollm]"
"""How the origin of what a project has set begins."""
ON_CHANGE: Final = ("new", "warn", "error", "ignore")
ON_STORE_ERROR: Final = ("warn", "raise")
PREFIX: Final = "MEMOLLM_"
OTHER_VARIABLES: Final = ("RUN", "SIGNING_KEY", "PROXY_TOKEN")
"""What the environment says besides settings."""


class Setting(NamedTuple):
    """What may be configured, and what it may be."""

    check: Callable[[str, Any], object]
    """Raises what is wrong, given where it was said and the value; returns the value to use."""
    in_environment: bool = True
    in_project: bool = True


def _require_one_of(known: tuple[str, ...], where: str, value: object) -> str:
    if not isinstance(value, str) or value not in known:
        raise OptionError(f"{where}={value!r}{did_you_mean(str(value), known)}")
    return value


def require_mode(where: str, mode: object) -> str:
    """Refuse what is no mode."""
    return _require_one_of(MODES, where, mode)


def require_on_change(where: str, policy: object) -> str:
    """Refuse what says nothing of changed code."""
    return _require_one_of(ON_CHANGE, where, policy)


def require_on_store_error(where: str, policy: object) -> str:
    """Refuse what says nothing of a store that fails."""
    return _require_one_of(ON_STORE_ERROR, where, policy)


def require_name(option: str, name: object) -> str:
    """Refuse what cannot name a reader."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise OptionError(f"{option}={name!r}: it must be a printable text that is not empty.")
    return name


def require_switch(where: str, value: object) -> bool:
    """Read a setting that is on or off."""
    if isinstance(value, int) and value in {0, 1}:
        return bool(value)
    if isinstance(value, str) and value.lower() in {"1", "true", "yes", "on"}:
        return True
    if isinstance(value, str) and value.lower() in {"0", "false", "no", "off"}:
        return False
    raise OptionError(f"{where}={value!r}: it must be one of 1, true, yes, on, 0, false, no, off.")


def require_hook(where: str, value: object) -> object:
    """Refuse what cannot be told of draws."""
    if not callable(value) or iscoroutinefunction(value):
        raise OptionError(f"{where}={value!r}: it must be a plain function that takes a memollm.DrawEvent.")
    return value


def require_size(where: str, value: object) -> float:
    """Read a number of bytes."""
    from memollm._upkeep.prune import bytes_of

    return bytes_of(where, value)


def require_count(where: str, value: object) -> int:
    """Read a number of samples."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise OptionError(f"{where}={value!r}: it must be a whole number from 0 up.")
    return number


def require_age(where: str, value: object) -> float:
    """Read a length of time, in seconds."""
    return seconds_of(where, value)


def require_budget(where: str, value: object) -> Allowance:
    """Read what a whole program may spend: a table, or a text such as "cost=2.50 calls=1000"."""
    given: Any = value
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.replace(",", " ").split()]
        given = {name: _number_in(text) for name, _, text in pairs}
    how = f"{where}={value!r}: say what the program may spend, as in 'cost=2.50 calls=1000', in dollars and calls"
    if not isinstance(given, Mapping) or not given or {*cast("dict[Any, Any]", given)} - {*Allowance._fields}:
        raise OptionError(f"{how}.")
    allowed = Allowance(**given)
    require_amounts(how, cost=allowed.cost, calls=allowed.calls, unknown=allowed.unknown)
    return allowed._replace(cost=None if allowed.cost is None else float(allowed.cost))


def _number_in(text: str) -> object:
    try:
        return int(text) if text.isdecimal() else float(text.removeprefix("$"))
    except ValueError:
        return text


def require_amounts(where: str, *, cost: object, calls: object, unknown: object) -> None:
    """Refuse what no budget can allow."""
    if cost is None and calls is None:
        raise OptionError(f"{where} limits nothing: say cost= in dollars, or calls=.")
    if cost is not None and (not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < math.inf):
        raise OptionError(f"{where}: cost={cost!r}: it must be an amount of dollars from 0 up.")
    if calls is not None and (type(calls) is not int or calls < 0):
        raise OptionError(f"{where}: calls={calls!r}: it must be a whole number from 0 up.")
    if unknown not in UNKNOWN:
        raise OptionError(f"{where}: unknown={unknown!r}{did_you_mean(str(unknown), UNKNOWN)}")


def _as_it_is(_: str, value: object) -> object:
    return value


SETTINGS: Final = {
    "cache": Setting(_as_it_is),
    "tier": Setting(require_tier),
    "namespace": Setting(require_name),
    "mode": Setting(require_mode),
    "on_change": Setting(require_on_change),
    "on_store_error": Setting(require_on_store_error),
    "keep_arguments": Setting(require_switch),
    "pickle": Setting(require_switch),
    "prices": Setting(require_table, in_environment=False),
    "max_bytes": Setting(require_size),
    "max_samples": Setting(require_count),
    "max_age": Setting(require_age),
    "budget": Setting(require_budget),
    "on_draw": Setting(require_hook, in_environment=False, in_project=False),
}


class Said(NamedTuple):
    """A setting's value, and who said so."""

    value: Any
    origin: str


NOT_SAID: Final = Said(None, "default")


class Configuration:
    """What was configured for the whole process; `generation` grows with every change."""

    def __init__(self) -> None:
        self.generation = 0
        self._said: dict[str, Any] = {}
        self._project: dict[str, Said] | None = None
        self._looked_around = False
        """Whether the environment has only what is known, since something was configured."""

    def say(self, **options: Any) -> None:
        """Set options from code; None takes one back."""
        for option, value in options.items():
            setting = require_setting("configure", option, SETTINGS)
            if value is not None:
                options[option] = setting.check(option, value)
        self._said.update(options)
        self._looked_around = False
        self.generation += 1

    def in_code(self) -> dict[str, Any]:
        """Return what was set from code."""
        return dict(self._said)

    def get(self, option: str) -> Any:
        """Return an option: from code, else from the environment, else from pyproject.toml, else None."""
        return self.said(option).value

    def said(self, option: str) -> Said:
        """Return an option and where it comes from."""
        if self._said.get(option) is not None:
            return Said(self._said[option], CONFIGURED)
        setting, variable = SETTINGS[option], PREFIX + option.upper()
        text = os.environ.get(variable) if setting.in_environment else None
        if text:
            return Said(setting.check(variable, text), variable)
        return self._of_project().get(option, NOT_SAID)

    def _of_project(self) -> dict[str, Said]:
        if self._project is None or not self._looked_around:
            require_variables()
            self._looked_around = True
        if self._project is None:
            self._project = read_project()
        return self._project


configuration: Final = Configuration()


def configure(**options: Any) -> None:
    """Set defaults for this process; None takes one back.

    cache           a `Cache`, a path, the URL of a server, or "memory:"
    tier            what stands before a cache on a server: a folder of this machine, "memory:", or a bucket
    namespace       the reader of all functions that name none
    mode            "auto", "offline", "refresh", "readonly", "off" or "resume"
    on_change       what to do when a function's code has changed: "new", "warn", "error" or "ignore"
    on_store_error  "raise": where the store fails, so does the draw, and nothing is called that cannot be kept
    keep_arguments  False: store a digest of arguments instead of the arguments
    pickle          False: neither write nor read pickled values
    prices          dollars per million tokens by model: {"my-model": (input, output)}
    max_bytes       a limit for every cache: what was used least recently is evicted when it is exceeded, as by
                    `Cache.prune`. Looked at after the first draws that paid for something, then every ten minutes
    max_samples     the same, in samples
    max_age         the same, by age: "90d"
    budget          what the whole program may spend, its threads and its children of multiprocessing together:
                    {"cost": 2.50, "calls": 1000}
    on_draw         a function that is given a `DrawEvent` for every sample that is given

    What a decorator or a context manager says goes before; the environment and pyproject.toml come after.
    """
    configuration.say(**options)


def require_setting(where: str, option: str, known: dict[str, Setting]) -> Setting:
    """Refuse a setting that nobody knows."""
    if option not in known:
        raise OptionError(f"{where}: there is no option {option!r}{did_you_mean(option, known)}")
    return known[option]


def require_variables() -> None:
    """Refuse a variable of ours that nobody knows, or whose value is none: what it says would not hold.

    Some settings are read long after a program began, where nobody is left to be told.
    """
    checks = {PREFIX + name.upper(): setting.check for name, setting in SETTINGS.items() if setting.in_environment}
    known = [*checks, *(PREFIX + name for name in OTHER_VARIABLES)]
    for variable, text in os.environ.items():
        if variable.startswith(PREFIX) and variable not in known:
            raise OptionError(f"The environment has {variable}, which is no setting{did_you_mean(variable, known)}")
        if text and variable in checks:
            checks[variable](variable, text)


def project_root() -> Path | None:
    """Find the nearest parent of the working directory that looks like a project's root."""
    here = working_directory()
    return None if here is None else root_above(here)


def read_project() -> dict[str, Said]:
    """Read `[tool.memollm]` of the project's pyproject.toml."""
    root = project_root()
    if root is None or not (file := root / "pyproject.toml").is_file():
        return {}
    import tomllib

    try:
        options: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("memollm", {})
    except (OSError, ValueError) as error:
        raise OptionError(f"{file} cannot be read: {error}. Mend it, or run outside the project.") from error
    where = f"{OF_PROJECT} in {file}"
    known = {name: setting for name, setting in SETTINGS.items() if setting.in_project}
    # Before they are made absolute: a project's paths begin at its root.
    for option in ("cache", "tier"):
        if options.get(option) is not None:
            options[option] = require_own_place(where, option, options[option], root)
    for option, value in options.items():
        options[option] = require_setting(where, option, known).check(f"{where}: {option}", value)
    if options.get("mode") == "refresh":
        raise OptionError(
            f"{where}: mode='refresh' would have every run pay again and replace what is stored, so a project cannot "
            "ask for it. Say it where you run: MEMOLLM_MODE=refresh, or memollm.configure(mode='refresh')."
        )
    return {option: Said(value, where) for option, value in options.items()}


def require_own_place(where: str, option: str, given: object, root: Path) -> str:
    """Return where a project keeps its cache or tier, which must be inside: a project may come from anybody."""
    if not isinstance(given, str):
        raise OptionError(f"{where}: {option}={given!r}: it must be a text, a path or 'memory:'.")
    if given == "memory:":
        return given
    place = root / Path(given).expanduser()
    if "://" in given or not is_inside(place, root):
        raise OptionError(
            f"{where}: {option}={masked_url(given)!r} lies outside of the project. A project may come from anybody, so "
            "its settings cannot send prompts elsewhere or write there (docs/security.md). If that is where you want "
            f"it, say so: {PREFIX}{option.upper()}, memollm.configure({option}=...) or Cache(...)."
        )
    return str(place)


def is_inside(place: Path, root: Path) -> bool:
    """Tell whether a place is in a folder, wherever links lead to."""
    return Path(os.path.realpath(place)).is_relative_to(os.path.realpath(root))


def holds_for(said: Said, place: str | None) -> bool:
    """Tell whether a limit that was set is one for this cache: a project's is for the cache inside of it alone."""
    root = project_root() if said.origin.startswith(OF_PROJECT) else None
    return root is None or (place is not None and is_inside(Path(place), root))


def default_place() -> Path:
    """Return the folder of the project's cache, or outside a project the user's."""
    root = project_root()
    if root is not None:
        return root / ".memollm"
    import platformdirs

    return platformdirs.user_data_path("memollm")
