"""Documents of the catalog: whoever has written them, what is read of one is there and of its type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from memollm._types.samples import LAST_MOMENT
from memollm.errors import StoreUnavailable
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memollm.stores.looking import Document


def document_of(text: object) -> Document | None:
    """Read a document; None where the text, which anybody may have written, is none."""
    try:
        document: Any = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return cast("Document", document) if isinstance(document, dict) else None


def has_shape(kind: str, document: Mapping[str, Any]) -> bool:
    """Tell whether what is read of a document is there and of its type."""
    if kind != "function":
        return _is_moment(document.get("first", 0.0)) and isinstance(document.get("program", ""), str)
    texts = (document.get("name"), document.get("latest"), document.get("previous") or "")
    versions = _object(document.get("versions"))
    return _are_texts(texts) and texts[1] in versions and all(map(_is_version, versions.values()))


def _is_version(version: object) -> bool:
    noted = _object(version)
    return (
        _is_moment(noted.get("first"))
        and isinstance(noted.get("parts"), dict)
        and _are_texts(_object(noted["parts"]).values())
    )


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_moment(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < LAST_MOMENT


def notes_of(store: object, kind: str, name: str | None = None) -> Mapping[str, Document]:
    """Read documents of one kind; refuse one of which not all is there that is read of it."""
    documents = looking(store).notes(kind, name)
    for each, document in documents.items():
        if not has_shape(kind, document):
            raise damaged(each)
    return documents


def damaged(name: object) -> StoreUnavailable:
    """Say that a document is none, or not what was written."""
    return StoreUnavailable(
        f"What the cache notes about {str(name)[:80]!r} is damaged. memollm verify --repair keeps what can be read, "
        "and the note is written anew."
    )
