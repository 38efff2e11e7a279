"""Exchanging samples with a bucket that other machines read, too (docs/s3.md).

The bucket holds a log: files as `export` writes them, numbered from 1, each put where there was none and never changed.
So all machines read the same files in the same order, and who puts one knows which samples others put first.

::

    exchange    what is sent and received, and when
    log         the numbered files of a bucket, and whether a bucket is fit to hold them
    parcels     what is here and not in the log yet, as files
    state       what a machine knows of the log, in a file beside its cache
"""

from memollm._upkeep.exchange.exchange import BucketExchange, Synced, exchange_of

__all__ = ["BucketExchange", "Synced", "exchange_of"]
