"""The live page: what a cache holds and what is being drawn from it, for its user's browser on this machine alone."""

from importlib.util import find_spec

if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
    raise ImportError(f"memollm.ui needs {' and '.join(missing)}. Install it with: pip install 'memollm[ui]'")

from memollm.ui.app import LivePage
from memollm.ui.serving import serve

__all__ = ["LivePage", "serve"]
