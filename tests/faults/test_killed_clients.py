"""A program killed while a client reads a stream leaves nothing of it, and its position is free at once."""

from __future__ import annotations

import pytest

from memollm import Cache
from memollm.testing import FakeProvider

pytest.importorskip("httpx2", reason="the lowest versions are tested without SDKs")

PROGRAM = """
    import sys
    import httpx2, memollm.http

    url, key, how = sys.argv[1:]
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    with httpx2.Client(transport=memollm.http.Transport(namespace="a", cache="kept")) as client:
        asked = client.stream("POST", url + "/chat/completions", json=body, headers={"authorization": "Bearer " + key})
        with asked as response:
            events = []
            for event in response.iter_text():
                events.append(event)
                if how == "slowly":
                    print("read")
    print("".join(events).count("data:"))
"""


def test_a_program_that_is_killed_in_mid_stream_leaves_nothing(project, tmp_path):
    """P3: kill -9 between two events; the next program takes the same position."""
    project.write("tell.py", PROGRAM)
    with FakeProvider() as provider:
        with provider.held(after=2):
            victim = project.start("tell.py", provider.openai_url, provider.key, "slowly")
            assert victim.line() == "read"
            victim.kill()
        for _ in range(2):
            (said,) = project.run("tell.py", provider.openai_url, provider.key, "fast")
            assert int(said) > 3
        assert len(provider.samples) == 3
    with Cache(tmp_path / "kept") as cache:
        assert [namespace.draws for namespace in cache.namespaces()] == [2]
