"""The proxy: a server that memoizes what models answer, for programs in any language, which change their base URL."""

try:
    import httpx as _httpx  # noqa: F401 - see that it is there
    import starlette as _starlette  # noqa: F401
except ImportError as error:
    raise ImportError(
        "memollm.proxy needs starlette, uvicorn and httpx. Install them with: pip install 'memollm[proxy]'"
    ) from error

from memollm.proxy.app import Proxy
from memollm.proxy.settings import ProxySettings

__all__ = ["Proxy", "ProxySettings"]
