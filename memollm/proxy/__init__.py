"""The proxy: a server that memoizes what models answer, for programs in any language, which change their base URL."""

from importlib.util import find_spec

if missing := [name for name in ("httpx", "starlette", "uvicorn") if find_spec(name) is None]:
    raise ImportError(f"memollm.proxy needs {' and '.join(missing)}. Install it with: pip install 'memollm[proxy]'")

from memollm.proxy.app import Proxy
from memollm.proxy.settings import ProxySettings

__all__ = ["Proxy", "ProxySettings"]
