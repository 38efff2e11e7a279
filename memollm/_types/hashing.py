"""SHA-256 as a forked child can use it: without the locks of OpenSSL.

OpenSSL looks each function up under locks of the whole process, and a thread may have them without Python's own lock,
as while it begins a TLS connection. A child that is forked in that moment and takes them waits for ever. The first
`sha256` of a process takes them, and the later ones do not; `hmac.digest` takes them each time.
"""

from __future__ import annotations

from hashlib import sha256

__all__ = ["sha256"]

sha256()
