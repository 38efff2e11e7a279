"""What a recording holds, as lines: read, joined with what was recorded elsewhere, and written in order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

HEADER = '{"is":"memollm recording","version":1}'
Place = tuple[str, int]
"""The key of a call, in hexadecimal, and a slot."""


@dataclass
class RecordedCall:
    """A call and its samples, each as its line."""

    line: str
    order: tuple[str, str]
    """By which calls are sorted: the function and the canonical form."""
    samples: dict[int, str] = field(default_factory=dict[int, str])


@dataclass
class Content:
    """The lines of a recording, by what they are about."""

    functions: dict[str, dict[str, Any]] = field(default_factory=dict[str, "dict[str, Any]"])
    calls: dict[str, RecordedCall] = field(default_factory=dict[str, RecordedCall])

    @classmethod
    def of(cls, text: str) -> Content:
        """Read the lines; whether they are right is memollm's to say, when it loads them."""
        content, call = cls(), RecordedCall("", ("", ""))
        for line in text.splitlines()[1:]:
            said = json.loads(line)
            if said["is"] == "function":
                content.functions[said["lineage"]] = said["content"]
            elif said["is"] == "call":
                form = _form(line)
                call = RecordedCall(line, (said["function"], form))
                content.calls[xxhash.xxh3_128_hexdigest(form.encode("utf-8", "surrogatepass"))] = call
            else:
                call.samples[said["slot"]] = line
        return content

    @classmethod
    def read(cls, path: Path) -> Content:
        """Read a file, or nothing where there is none."""
        return cls.of(path.read_text(encoding="utf-8")) if path.exists() else cls()

    def places(self) -> set[Place]:
        """Return every sample that there is."""
        return {(key, slot) for key, call in self.calls.items() for slot in call.samples}

    def join(self, other: Content, *, replaces: bool = False) -> int:
        """Add what another has and this one lacks; its calls may replace those of this one. Return how many came."""
        came = 0
        for key, theirs in other.calls.items():
            if replaces:
                self.calls.pop(key, None)
            ours = self.calls.setdefault(key, RecordedCall(theirs.line, theirs.order))
            for slot in theirs.samples.keys() - ours.samples.keys():
                came += 1
                ours.samples[slot] = theirs.samples[slot]
        if came:
            for lineage, content in other.functions.items():
                versions = {**self.functions.get(lineage, content)["versions"], **content["versions"]}
                self.functions[lineage] = {**content, "versions": versions}
        return came

    def without(self, places: Container[Place]) -> Content:
        """Return what is left without some samples."""
        left = Content(dict(self.functions))
        for key, call in self.calls.items():
            samples = {slot: line for slot, line in call.samples.items() if (key, slot) not in places}
            if samples:
                left.calls[key] = RecordedCall(call.line, call.order, samples)
        made = {(call.order[0], json.loads(call.line)["form"]["function"]["version"]) for call in left.calls.values()}
        for lineage, content in [*left.functions.items()]:
            versions = {name: each for name, each in content["versions"].items() if (content["name"], name) in made}
            if versions:
                latest = content["latest"] if content["latest"] in versions else [*versions][-1]
                left.functions[lineage] = {**content, "latest": latest, "versions": versions}
            else:
                del left.functions[lineage]
        return left

    def text(self) -> str:
        """Write it in its order: the same content is the same text."""
        lines = [HEADER]
        for lineage, content in sorted(self.functions.items()):
            inner = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
            lines.append(f'{{"is":"function","lineage":{json.dumps(lineage, ensure_ascii=False)},"content":{inner}}}')
        for call in sorted(self.calls.values(), key=lambda each: each.order):
            lines += [call.line, *(line for _, line in sorted(call.samples.items()))]
        return "\n".join(lines) + "\n"


def _form(line: str) -> str:
    """Return the canonical form of a call, as it stands in its line."""
    at = line.index('"form":') + len('"form":')
    text = line[at : line.rindex("}")].strip()
    return text if text.startswith("{") else str(json.loads(text))
