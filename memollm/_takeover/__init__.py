"""Taking over what other caches hold: their keys become calls as the user says (docs/transfer.md).

::

    take       what is read, mapped, encoded and put into the cache
    mapping    from an old key to a call: by a function of the user's, or by position
    sources    which caches are known, and how each is read
    foreign    opening files of others, and unpickling only what is trusted
"""

from memollm._takeover.sources import SOURCES
from memollm._takeover.take import Imported, take

__all__ = ["SOURCES", "Imported", "take"]
