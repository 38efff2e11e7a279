"""What is secret and must never be written or shown: by its name, by its shape, by its type.

Two questions are kept apart. Whether something is *shown* depends on all three. Whether it *counts* in a key does not:
only names that can mean nothing else (`api_key`, `authorization`) and secret types are left out of keys. What is secret
by its shape, or by a name such as `token` together with its shape, is there as a digest, so that two of them are two.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SECRET: Final = "<secret>"  # noqa: S105 - that it is one is what it says.
"""What is shown in the place of a secret."""

# Names.

_PROVIDERS: Final = (
    r"openai|azure_openai|anthropic|claude|google|gemini|mistral|cohere|groq|xai|deepseek|openrouter|together(?:_ai)?"
    r"|fireworks|perplexity|replicate|hugging_?face(?:hub|_hub)?|hf|voyage|jina|nvidia|cerebras|databricks|bedrock|aws|azure"
    r"|langchain|langsmith|langfuse|wandb|tavily|serper|serpapi|pinecone|weaviate|qdrant|github|gh|gitlab|slack|discord"
    r"|telegram|stripe|npm|pypi"
)
_CERTAIN: Final = re.compile(
    rf"""(?:^|_)(?:
        api_?keys? (?:_(?:{_PROVIDERS}))?
      | authorization
      | (?:access|auth|bearer|refresh)_tokens?
      | (?:oauth2?|api|security|{_PROVIDERS})_token       # `openai_tokens` is how many.
      | (?:{_PROVIDERS})_(?:secret_)?keys? | secret_access_keys? | subscription_keys? | functions_keys?
      | (?:client|api|app|consumer|oauth)_secrets?
      | (?:db|database|redis|postgres|postgresql|mysql|mongo|smtp|proxy)_(?:password|passwd)
    )$""",
    re.VERBOSE,
)
_LIKELY: Final = re.compile(
    r"(?:^|_)(?:(tokens?|secrets?|passwords?|passwd|pwd|passphrases?|credentials?|creds)|(keys?|auth|cookies?|bearer|pat))$"
)
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SHORT, _LONG = 6, 16
_NEVER: Final = 1 << 62

ORDINARY: Final[set[str]] = set()
"""Names that were looked at and mean nothing; whoever is in a hurry asks here first."""
_MOST, _LONGEST = 20_000, 100


def is_secret_name(name: str) -> bool:
    """Tell whether what bears this name can only be a secret: a parameter, field, key, attribute, header, variable."""
    return _CERTAIN.search(_snake(name)) is not None


def is_ordinary(name: str) -> bool:
    """Tell whether a name says nothing of secrets, and remember it."""
    snake = _snake(name)
    if _CERTAIN.search(snake) or _LIKELY.search(snake) or holds_secret(name):
        return False
    if len(name) <= _LONGEST:
        if len(ORDINARY) >= _MOST:
            ORDINARY.clear()
        ORDINARY.add(name)
    return True


def _snake(name: str) -> str:
    """Write `apiKey`, `X-Api-Key` and `API_KEY_2` in one way."""
    words = _WORDS.findall(name[-_LONGEST:])
    while words and words[-1].isdigit():
        words.pop()
    return "_".join(words).lower()


def _least(name: str) -> int:
    """Return from how many characters on a credential's shape is believed under a name."""
    snake = _snake(name)
    if _CERTAIN.search(snake):
        return _SHORT
    found = _LIKELY.search(snake)
    return _NEVER if found is None else _SHORT if found[1] else _LONG


# Values.

_MIXED: Final = r"(?=[a-z_\-]*[A-Z0-9])"
_SHAPES: Final = re.compile(
    rf"""
      (?<![A-Za-z0-9])(?:
          sk-{_MIXED}[A-Za-z0-9_\-]{{8,}}
        | [srp]k_(?:live|test)_[A-Za-z0-9]{{8,}}
        | (?:hf|gsk|r8|sk|pcsk|fw|tgp_v1|jina|e2b|npm|gh[pousr]|github_pat|lsv2_[a-z]{{2}})_
          {_MIXED}[A-Za-z0-9_\-]{{16,}}
        | (?:xai|pplx|nvapi|tvly|csk|glpat)-{_MIXED}[A-Za-z0-9_\-]{{16,}}
        | pa-{_MIXED}[A-Za-z0-9_\-]{{40,}}
        | xox[abeoprs]-[A-Za-z0-9\-]{{10,}}
        | A(?:KIA|SIA)[0-9A-Z]{{16}}
        | AIza[0-9A-Za-z_\-]{{30,}}
        | ya29\.[A-Za-z0-9_\-]{{20,}}
        | eyJ[A-Za-z0-9_\-]{{6,}}\.[A-Za-z0-9_\-]{{6,}}(?:\.[A-Za-z0-9_\-]+)?
        | Bearer\s+(?=[A-Za-z._~+/\-]*[0-9])([A-Za-z0-9._~+/\-]{{8,}}=*)
        | Basic\s+(?=[A-Za-z+/]*[0-9=])([A-Za-z0-9+/]{{8,}}=*)
      )
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | (?<=://)[^\s/?\#@:"'<>{{}}]*:([^\s/?\#@"'<>{{}}]+)(?=@)
    | (?<=://)(?=[^\s/?\#@:]*[0-9A-Z])[^\s/?\#@:"'<>{{}}]{{12,}}(?=@)
    | [?&][\w\-]*(?:key|token|secret|password|signature|sig)=([^\s&\#"'<>{{}}]{{6,}})
    """,
    re.VERBOSE | re.DOTALL,
)
_MARKS: Final = (
    r"-(?:(?<=sk-)|(?<=ai-)|(?<=lx-)|(?<=pi-)|(?<=ly-)|(?<=at-)|(?<=pa-)|(?<=xox.-)|(?=----BEGIN))",
    r"_(?:(?<=[srp]k_)|(?<=hf_)|(?<=r8_)|(?<=fw_)|(?<=v[12]_)|(?<=2b_)|(?<=pm_)|(?<=[an][ta]_)|(?<=gh[pousr]_))",
    r"A(?:Iza|KIA|SIA)",
    r"9(?<=ya29)\.",
    r"J(?<=eyJ)",
    r"B(?:earer|asic)\s",
    r"@",
    r"=(?:(?<=key=)|(?<=en=)|(?<=et=)|(?<=rd=)|(?<=re=)|(?<=ig=))",
)
"""Of each shape a mark; each begins with one character, which is found at the speed of memory."""
_ANY_MARK: Final = re.compile("|".join(_MARKS)).search
_EACH_MARK: Final = tuple(re.compile(mark).search for mark in _MARKS)
_LENGTHY: Final = 2_000


def may_hold_secret(text: str) -> bool:
    """Tell, fast, whether a text is worth a closer look."""
    if len(text) < _LENGTHY:
        return _ANY_MARK(text) is not None
    for found in _EACH_MARK:  # noqa: SIM110 - a generator would cost a frame an item.
        if found(text):
            return True
    return False


def holds_secret(text: str) -> bool:
    """Tell whether there is something in a text that has the shape of a provider's key, or of a password in a URL."""
    return may_hold_secret(text) and _SHAPES.search(text) is not None


def is_secret_value(text: str, name: str = "") -> bool:
    """Tell whether a text is, or holds, a secret: by its own shape, or because it looks like one under such a name."""
    return _looks_secret(text, _least(name)) or holds_secret(text)


def _looks_secret(text: str, least: int) -> bool:
    """Tell whether a text is one run of characters as credentials are, and no word."""
    if not least <= len(text) or len(text) > 10_000 or any(map(str.isspace, text)) or text[0] in "<[{":  # noqa: PLR2004
        return False
    letters = any(map(str.isalpha, text))
    mixed = text[1:] not in (text[1:].lower(), text[1:].upper())
    return (letters and any(map(str.isdigit, text))) or (len(text) >= _LONG and (mixed or letters is False))


def masked(text: str, mask: Callable[[str], str], name: str = "") -> str:
    """Replace every secret in a text by what `mask` makes of it; under some names the whole text is one."""
    return "".join(mask(piece) if hidden else piece for piece, hidden in pieces(text, name))


def pieces(text: str, name: str = "") -> Iterator[tuple[str, bool]]:
    """Take a text apart into what may be shown and what may not."""
    if _looks_secret(text, _least(name)):
        yield text, True
        return
    end = 0
    for found in _SHAPES.finditer(text) if may_hold_secret(text) else ():
        start, stop = found.span(found.lastindex or 0)
        yield text[end:start], False
        yield text[start:stop], True
        end = stop
    yield text[end:], False


def secret_digest(secret: str) -> str:
    """Stand for a secret that counts."""
    return blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


# Messages.

_ASSIGNED: Final = re.compile(
    r"""(?P<name>[A-Za-z][A-Za-z0-9_\-]*)(?P<between>["']?\s*(?:=|:|,|->)\s*)(?P<quote>b?["'])(?P<value>(?:[^"'\\]|\\.)+)(?=["'])"""
)


def veiled(text: str) -> str:
    """Write a message without the secrets in it: in what others said, in the representation of an object."""
    return masked(_ASSIGNED.sub(_without_value, text), lambda _: SECRET)


def said_by(error: BaseException) -> str:
    """Return what an error of somebody else's says, without the secrets in it."""
    return veiled(str(error))


def _without_value(found: re.Match[str]) -> str:
    name, value = found["name"], found["value"]
    if not is_secret_name(name) and not is_secret_value(value, name):
        return found[0]
    return f"{name}{found['between']}{found['quote']}{SECRET}"


# Types.

_lineage: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_members: Final[Callable[[type], Mapping[str, object]]] = type.__dict__["__dict__"].__get__
# Read through `type` itself, so that a metaclass cannot answer instead.


def is_secret_type(cls: type) -> bool:
    """Tell whether a class hides its content: pydantic's secrets, Starlette's, and whatever says so."""
    spaces = [*map(_members, _lineage(cls))]
    own_word = next((space["__memollm_secret__"] for space in spaces if "__memollm_secret__" in space), None)
    if any("get_secret_value" in space for space in spaces) or own_word:
        return True
    return any(
        space.get("__module__") == "starlette.datastructures" and base.__name__ == "Secret"
        for base, space in zip(_lineage(cls), spaces, strict=True)
    )


# URLs.

_USERINFO: Final = re.compile("//.*@", re.DOTALL)
_PASSWORD: Final = re.compile(r"([?&][a-z_]*(?:password|secret|token|key)[a-z_]*=)[^&#]*", re.IGNORECASE)


def masked_url(url: str) -> str:
    """Write a URL without what its user logs in by; whatever stands before its last @ may be part of that."""
    return _PASSWORD.sub(r"\1…", _USERINFO.sub("//…@", url))
