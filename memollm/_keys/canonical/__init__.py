"""The canonical form: one readable JSON text for each value, equal exactly when value and types are equal.

What JSON would lose is tagged: a tag is an object with one key that begins with ``!``. A user's dict that looks like
that is tagged itself, so no value can pass for another. What a function could tell apart is told apart, even where
``==`` does not (``1`` and ``1.0``, ``Decimal("1.0")`` and ``Decimal("1.00")``); what it cannot rely on (the order of
a dict, of a set) does not count. Nothing is keyed by ``repr``, ``id`` or pickle.

::

    form       the two entry points, and errors in the user's words
    walk       the walk over lists, tuples and dicts, and where it stops
    plain      values of the standard library
    objects    instances of the user's classes
    arrays     NumPy, recognized without importing it
    callables  functions, methods, partials
    classes    classes by their schema, typing constructs
    clients    clients of providers
    veil       what is secret: not keyed, or a digest
    names      qualified names, with ``__main__`` resolved
"""

from memollm._keys.canonical.form import call_head, canonical, canonical_call, canonical_with
from memollm._keys.canonical.names import hooks

__all__ = ["call_head", "canonical", "canonical_call", "canonical_with", "hooks"]
