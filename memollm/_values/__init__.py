"""Values and records: what a sample looks like on disk, and how it comes back as it was (docs/values.md).

::

    codec     encode and decode: the forms in their order, the signature, the errors
    frame     the bytes of a record: kind, check, compression
    tree      plain values as JSON text, what JSON would lose as tagged JSON
    classes   classes: pydantic, dataclasses, attrs, msgspec, enumerations, registered types
    arrays    arrays, as they lie in memory
    pickled   everything else, by cloudpickle
    same      whether what came back is what was written, of the same types
    names     classes by name, and back
    schema    whether a pydantic class is the one that a record was written with
    streams   what a stream leaves behind, and a sample read as a stream
    signing   whose records are trusted, and the key of one's own
    live      what must not be stored: streams, locks, connections
"""
