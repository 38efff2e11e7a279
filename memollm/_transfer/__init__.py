"""Moving what a cache holds: into a file, out of one, and together with what is there already (docs/transfer.md).

::

    _export   what of a cache is written, in which order
    _load     what a file holds, checked, and brought in a batch at a time
    _merge    how the samples of a file join those of a call that is here already
    _lines    the lines of a file
    _files    the files: packed as their names say, written whole or not at all
    _zstd     the packing that is not in every Python
"""

from memollm._transfer._export import Exported, export, transfer_of
from memollm._transfer._load import Loaded, load
from memollm._transfer._merge import Joining, by_record

__all__ = ["Exported", "Joining", "Loaded", "by_record", "export", "load", "transfer_of"]
