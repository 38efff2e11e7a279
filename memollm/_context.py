"""Who reads: context managers, then the decorator, the environment and pyproject.toml say it, in that order."""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._keys import did_you_mean
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Generator

KNOWN: Final = ("cache", "namespace", "keep_arguments", "pickle")
"""What `configure` and `[tool.memollm]` may set."""
SWITCHES: Final = frozenset({"keep_arguments", "pickle"})
"""Those that are on or off."""
ROOT_MARKS: Final = (".memollm", "pyproject.toml", ".git")


class Scope(NamedTuple):
    """What the context managers around a draw say."""

    namespace: str | None = None
    run: str | None = None


scope: ContextVar[Scope | None] = ContextVar("memollm_scope", default=None)


@contextmanager
def namespace(name: str) -> Generator[None]:
    """Draw as the named reader inside the block, in this task or thread and those that it starts with its context."""
    require_name("namespace", name)
    with _scoped(_current()._replace(namespace=name)):
        yield


@contextmanager
def run(id: str | None = None) -> Generator[str]:  # noqa: A002 - the user's word
    """Read as a run of its own inside the block where no namespace is named; with an id, as the run of that id."""
    if id is not None:
        require_name("run", id)
    name = id or uuid.uuid4().hex
    with _scoped(_current()._replace(run=name)):
        yield name


def _current() -> Scope:
    return scope.get() or Scope()


@contextmanager
def _scoped(inner: Scope) -> Generator[None]:
    token = scope.set(inner)
    try:
        yield
    finally:
        scope.reset(token)


def require_name(option: str, name: object) -> None:
    """Refuse what cannot name a reader."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise OptionError(f"{option}={name!r}: it must be a printable text that is not empty.")


# Configuration.


class Configuration:
    """What was configured for the whole process; `generation` grows with every change."""

    def __init__(self) -> None:
        self.generation = 0
        self._said: dict[str, Any] = {}
        self._project: dict[str, Any] | None = None

    def say(self, **options: Any) -> None:
        """Set options from code; None takes one back."""
        require_known("configure", options)
        if options.get("namespace") is not None:
            require_name("namespace", options["namespace"])
        self._said.update(options)
        self.generation += 1

    def get(self, option: str) -> Any:
        """Return an option: from code, else from the environment, else from pyproject.toml, else None."""
        if self._said.get(option) is not None:
            return self._said[option]
        variable = f"MEMOLLM_{option.upper()}"
        text = os.environ.get(variable)
        if text and option in SWITCHES:
            return switch(variable, text)
        return text or self._of_project().get(option)

    def _of_project(self) -> dict[str, Any]:
        if self._project is None:
            self._project = read_project()
        return self._project


configuration: Final = Configuration()


def configure(**options: Any) -> None:
    """Set defaults for this process; None takes one back.

    cache           a `Cache`, a path, or "memory:"
    namespace       the reader of all functions that name none
    keep_arguments  False: store a digest of arguments instead of the arguments
    pickle          False: neither write nor read pickled values

    What a decorator or a context manager says goes before; the environment and pyproject.toml come after.
    """
    configuration.say(**options)


def switch(name: str, text: str) -> bool:
    """Read a setting that is on or off."""
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise OptionError(f"{name}={text!r}: it must be one of 1, true, yes, on, 0, false, no, off.")


def require_known(where: str, options: dict[str, Any]) -> None:
    """Refuse options that nobody knows."""
    for option in options:
        if option not in KNOWN:
            raise OptionError(f"{where}: there is no option {option!r}{did_you_mean(option, KNOWN)}")


def project_root() -> Path | None:
    """Find the nearest parent of the working directory that looks like a project's root."""
    here = Path.cwd()
    # Path.exists() raises where it may not look.
    return next((one for one in (here, *here.parents) if any(os.path.exists(one / mark) for mark in ROOT_MARKS)), None)  # noqa: PTH110


def read_project() -> dict[str, Any]:
    """Read `[tool.memollm]` of the project's pyproject.toml."""
    root = project_root()
    if root is None or not (file := root / "pyproject.toml").is_file():
        return {}
    import tomllib

    try:
        options: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("memollm", {})
    except (OSError, ValueError) as error:
        raise OptionError(f"{file} cannot be read: {error}. Mend it, or run outside the project.") from error
    require_known(f"[tool.memollm] in {file}", options)
    cache = options.get("cache")
    if cache is not None and not isinstance(cache, str):
        raise OptionError(f"[tool.memollm] in {file}: cache={cache!r}: it must be a text, a path or 'memory:'.")
    if cache and cache != "memory:" and "://" not in cache:
        options["cache"] = str(root / Path(cache).expanduser())
    return options


def default_place() -> Path:
    """Return the folder of the project's cache, or outside a project the user's."""
    root = project_root()
    if root is not None:
        return root / ".memollm"
    import platformdirs

    return platformdirs.user_data_path("memollm")


# Runs.


def current_run() -> str:
    """Return the id of the run that this process belongs to.

    Every process that multiprocessing starts inherits the authentication key of its parent, whatever the start method,
    and the main process's is random: so a digest of it names a run, and no state has to be handed on.
    """
    named = os.environ.get("MEMOLLM_RUN")
    if named:
        return named
    from multiprocessing.process import current_process

    return hashlib.blake2b(bytes(current_process().authkey), digest_size=16, person=b"memollm-run").hexdigest()


def reader_name(*, namespace: str | None, run: str | None) -> str:
    """Return the name under which a store knows a reader."""
    return f"namespace:{namespace}" if namespace is not None else f"run:{run or current_run()}"
