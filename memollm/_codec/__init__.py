"""Values and records: what a sample looks like on disk, and how it comes back as it was (docs/values.md).

::

    _ladder   encode and decode: the forms in their order, the signature, the errors
    _frame    the bytes of a record: kind, check, compression
    _tree     plain values as JSON text, what JSON would lose as tagged JSON
    _types    classes: pydantic, dataclasses, attrs, msgspec, enumerations, registered types
    _numpy    arrays, as they lie in memory
    _pickle   everything else, by cloudpickle
    _same     whether what came back is what was written, of the same types
    _names    classes by name, and back
    _live     what must not be stored: streams, locks, connections
"""

from memollm._codec._frame import CLASSES, PICKLE, split, unframed
from memollm._codec._ladder import Codec, is_atomic

__all__ = ["CLASSES", "PICKLE", "Codec", "is_atomic", "split", "unframed"]
