"""OpenAI's library for Node against the proxy. `make integrations` installs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = Path(os.environ.get("NODE_MODULES", HERE.parents[1] / ".venv-node" / "node_modules"))

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and (MODULES / "openai").is_dir()), reason="OpenAI's library for Node is not installed"
)
sys.path.append(str(HERE.parent / "proxy"))


def test_a_program_of_node_draws(tmp_path):
    """P1, P2, P4: namespaces read the same samples, `n` and streams included, and only what is missing is asked for."""
    from served import Served

    from memollm.testing import FakeProvider

    with FakeProvider() as provider, Served(provider, cache=str(tmp_path / "cache")) as proxy:
        environment = {"NODE_PATH": str(MODULES), "PROXY": f"{proxy.url}/v1", "KEY": provider.key}
        done = subprocess.run(
            ["node", HERE / "asks.js"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads(done.stdout)
        chats = [each for each in provider.requests if each.path.endswith("chat/completions")]
    texts = [text for each in chats for text in each.samples]
    assert [len(each.samples) for each in chats] == [1, 2]
    assert found["first"] == [texts[:1], "paid"]
    assert found["three"] == [texts, "paid"]
    assert found["streamed"] == [texts[1], "hit"]
    assert found["again"] == [texts[0], "hit"]
    assert found["embedded"] == 1
    assert found["told"]
    status, message = found["offline"]
    assert (status, "seed" in message) == (424, True)
