"""Answers and canonical arguments as text that a person reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from memollm._upkeep.conversations import conversation

if TYPE_CHECKING:
    from memollm._views.reading import Shown

WIDTH: Final = 100
DIGEST: Final = "The arguments are not stored (keep_arguments=False), only a digest of them."
Named = dict[str, Any]
Titled = tuple[str, str]


def answer_text(answer: Shown) -> str:
    """Write an answer: what consists of parts as indented JSON, all else as the command line shows it."""
    return _json(answer.value) if _is_list(answer.value) or _is_object(answer.value) else answer.text


def value_text(value: object) -> str:
    """Write a canonical argument: text as it is, all else as JSON."""
    return value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= WIDTH or _is_flat(value) else json.dumps(value, ensure_ascii=False, indent=2)


def _is_flat(value: object) -> bool:
    """Tell whether a value is a list of numbers or words, which fill lines better than they make lines."""
    return _is_list(value) and not any(isinstance(item, list | dict) for item in value)


def parts_of(arguments: Named | None) -> list[Titled]:
    """Write each argument under its name, and of a chat each message under its role."""
    if arguments is None:
        return [("arguments", DIGEST)]
    parts: list[Titled] = [] if arguments else [("arguments", "none")]
    for name, value in arguments.items():
        messages = conversation(value)
        if messages:
            parts += [(f"{name}[{at}] {who}", text) for at, (who, text) in enumerate(messages)]
        else:
            parts.append((name, value_text(value)))
    return parts


def summary_of(arguments: Named | None, *, each: int = 90, whole: int = 240) -> str:
    """Write the arguments in one line, the longest first; of a chat the last message."""
    if not arguments:
        return DIGEST if arguments is None else "no arguments"
    texts = [
        (name, messages[-1][1] if (messages := conversation(v)) else value_text(v)) for name, v in arguments.items()
    ]
    texts.sort(key=lambda named: -len(named[1]))
    return shortened(" · ".join(f"{name}: {shortened(text, each)}" for name, text in texts), whole)


def shortened(text: str, length: int) -> str:
    """Write the beginning of a text in one line."""
    line = " ".join(text[: length * 2].split())
    return line if len(line) <= length and len(text) <= length * 2 else f"{line[: length - 1]}…"


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[Named]:
    return isinstance(value, dict)
