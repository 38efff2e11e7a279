"""Moving what a cache holds: into a file, out of one, and together with what is there already (docs/transfer.md).

::

    exporting  what of a cache is written, in which order
    loading    what a file holds, checked, and brought in a batch at a time
    merging    how the samples of a file join those of a call that is here already
    lines      the lines of a file
    copying    an export that is loaded elsewhere as it is written, without a file
    recording  samples alone, in a form to be reviewed and edited
    files      the files: packed as their names say, written whole or not at all
"""

from memollm._upkeep.transfer.copying import Copied, copy
from memollm._upkeep.transfer.exporting import Exported, export, transfer_of
from memollm._upkeep.transfer.loading import Loaded, load
from memollm._upkeep.transfer.merging import Joining, by_mark, marked
from memollm._upkeep.transfer.recording import record

__all__ = [
    "Copied",
    "Exported",
    "Joining",
    "Loaded",
    "by_mark",
    "copy",
    "export",
    "load",
    "marked",
    "record",
    "transfer_of",
]
