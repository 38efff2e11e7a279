"""A chat in the terminal whose answers stream in word by word. Say the same again, and they are replayed for nothing.

python examples/chat.py                 # type; an empty line ends it
echo "Tell me a story" | python examples/chat.py
"""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

import memollm

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = "the old model sat by a warm server and told of tokens that nobody had paid for twice".split()


@memollm.cached_llm
def answer(messages: list[dict[str, str]]) -> Iterator[str]:
    """Stream an answer to a chat; a provider's client would be asked here."""
    for word in random.sample(WORDS, 8):
        time.sleep(0.01)
        yield f"{word} "


def main() -> None:
    """Answer line by line, with the whole chat as context."""
    messages: list[dict[str, str]] = []
    with memollm.run():  # each chat reads from the start, so a chat that goes as before is replayed
        while line := ask_user():
            messages.append({"role": "user", "content": line})
            text = ""
            with memollm.track() as tracked:
                for chunk in answer(messages):
                    print(chunk, end="", flush=True)
                    text += chunk
            print(f"({'replayed' if tracked.hits else 'paid for'})")
            messages.append({"role": "assistant", "content": text})


def ask_user() -> str:
    """Return a line, or nothing at the end."""
    if sys.stdin.isatty():
        print("you: ", end="", flush=True)
    return sys.stdin.readline().strip()


if __name__ == "__main__":
    main()
