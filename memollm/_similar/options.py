"""What a user says of similar calls: which text is compared, by which embedder, and what else must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from memollm._similar.gates import GATES, is_async, require_gates
from memollm._types.public import public
from memollm.errors import OptionError

if TYPE_CHECKING:
    from memollm._similar.gates import Gate

Embed = Callable[[Any], Any]
EXTRA: Final = "pip install 'memollm[similar]'"


@public
@dataclass(frozen=True, slots=True)
class Embedder:
    """A function from a text to its vector, with the name and the version by which vectors are told apart.

    ::

        embed = memollm.Embedder(model.encode, name="all-MiniLM-L6-v2")

    embed    the function, plain or a coroutine function; its vector is a NumPy array or a list of numbers
    name     what is embedded by another name is embedded anew, and never compared with this
    version  the same; without a name, a function of yours is known by its own name and its code
    batch    the function takes a list of texts and returns a list of vectors
    read     a function that takes the vector out of what `embed` returns, of a provider's response, say
    awaited  whether what `embed` returns is to be awaited, where the function itself does not show it
    """

    embed: Embed
    _: KW_ONLY
    name: str | None = None
    version: str | int | None = None
    batch: bool = False
    read: Callable[[Any], Any] | None = None
    awaited: bool | None = None

    def __post_init__(self) -> None:
        if not callable(cast("object", self.embed)):
            raise OptionError(f"embed={self.embed!r}: it must be a function from a text to its vector.")
        for option in ("name", "version"):
            given = getattr(self, option)
            if given is not None and not (isinstance(given, str | int) and str(given)):
                raise OptionError(f"{option}={given!r}: it must be a text.")
        if self.version is not None and self.name is None:
            raise OptionError(f"version={self.version!r} without name=: say what it is a version of.")

    @property
    def is_async(self) -> bool:
        """Whether its vectors are to be awaited."""
        return is_async(self.embed) if self.awaited is None else self.awaited


@public
@dataclass(frozen=True, slots=True)
class Similar:
    """Let a call be given the sample of a similar one, where nothing is stored of it itself.

    ::

        @cached_llm(similar=memollm.Similar("question", embed=embed, threshold=0.93), pool=1)
        def answer(question: str, *, model: str) -> str: ...

    text       the parameter whose text may differ; all other arguments must be equal
    embed      a function from a text to its vector, or an `Embedder`
    threshold  the cosine of two vectors from which on they may count as similar. There is no default: none fits two
               embedders. `shadow=True` and `memollm similar report` find yours
    verify     a function of the two texts, asked and stored, that decides: a small model of yours
    gates      what the texts must agree in besides: names out of `Similar.GATES`, and functions of the two texts
    shadow     only look: the function is called all the same, and both answers are kept to be compared
    """

    GATES: ClassVar[tuple[str, ...]] = tuple(GATES)
    """The names of all gates."""

    text: str
    _: KW_ONLY
    embed: Embed | Embedder
    threshold: float | None = None
    verify: Callable[[str, str], Any] | None = None
    gates: Sequence[str | Gate] = GATES
    shadow: bool = False

    def __post_init__(self) -> None:
        if not isinstance(cast("object", self.text), str) or not self.text:
            raise OptionError(f"Similar({self.text!r}): it must be the name of the parameter that holds the text.")
        if not isinstance(self.embed, Embedder):
            Embedder(self.embed)
        if type(self.shadow) is not bool:
            raise OptionError(f"shadow={self.shadow!r}: it must be True or False.")
        self._check_threshold()
        require_gates(self.gates)
        if self.verify is not None and not callable(cast("object", self.verify)):
            raise OptionError(f"verify={self.verify!r}: it must be a function of two texts.")
        if find_spec("numpy") is None:
            raise OptionError(f"similar= needs NumPy, which is not installed: {EXTRA}.")

    def _check_threshold(self) -> None:
        if self.threshold is None and not self.shadow:
            raise OptionError(
                f"Similar({self.text!r}) has no threshold=, and none fits every embedder. Find yours by shadow=True, "
                "which only looks, and `memollm similar report`; or say one, as threshold=0.95."
            )
        if self.threshold is not None and not (
            type(self.threshold) in {int, float} and 0 < self.threshold <= 1  # pyright: ignore[reportUnnecessaryComparison]
        ):
            raise OptionError(f"threshold={self.threshold!r}: it must be a number above 0 and up to 1, as 0.95.")

    @property
    def embedder(self) -> Embedder:
        """What makes the vectors."""
        return self.embed if isinstance(self.embed, Embedder) else Embedder(self.embed)

    @staticmethod
    def openai(client: Any, *, model: str, dimensions: int | None = None) -> Embedder:
        """Return an embedder of an OpenAI client, plain or async, or of one that speaks like it."""
        options = {"model": model} if dimensions is None else {"model": model, "dimensions": dimensions}
        name = f"openai:{model}" if dimensions is None else f"openai:{model}:{dimensions}"
        create = client.embeddings.create
        return Embedder(
            lambda text: create(input=text, **options),
            name=name,
            read=lambda response: response.data[0].embedding,
            awaited=is_async(create),
        )
