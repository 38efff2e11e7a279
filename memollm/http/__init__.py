"""HTTP: transports for httpx and httpx2 that memoize what models answer, and clients that are given one.

Nothing of httpx is imported here; what a request brings along is used.
"""

from memollm.http.transports import AsyncTransport, Transport
from memollm.http.wrapping import wrap

__all__ = ["AsyncTransport", "Transport", "wrap"]
