"""A framework that is not installed: its module says which extra brings it, and nothing else needs it."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "needs", "extra"),
    [
        ("langchain", "langchain_core.caches", r"memollm\[langchain\]"),
        ("autogen", "autogen_core", r"memollm\[autogen\]"),
        ("autogen02", "autogen", r"autogen-agentchat~=0\.2\.0"),
        ("dspy", "dspy", r"memollm\[dspy\]"),
        ("litellm", "litellm", r"memollm\[litellm\]"),
        ("opentelemetry", "opentelemetry.metrics", r"memollm\[opentelemetry\]"),
        ("prometheus", "prometheus_client", r"memollm\[prometheus\]"),
        ("pydantic_ai", "pydantic_ai.messages", r"memollm\[pydantic-ai\]"),
    ],
)
def test_what_is_missing_is_named(module, needs, extra, monkeypatch):
    """The error of an import says what to install."""
    monkeypatch.delitem(sys.modules, f"memollm.integrations.{module}", raising=False)
    monkeypatch.setitem(sys.modules, needs, None)
    with pytest.raises(ImportError, match=extra):
        importlib.import_module(f"memollm.integrations.{module}")
