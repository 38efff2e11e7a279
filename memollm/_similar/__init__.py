"""Similar calls: which texts are close enough to one another that the answer to one may be lent to the other.

::

    options    what a user says: `Similar` and `Embedder`
    gates      what two texts must agree in, however close their vectors are
    amounts, wording, sequence, verbatim, spelling, words
               what gates read of a text
    vectors    the vectors of one kind, searched by NumPy
    matcher    the rule: look, compare, ask, note
    replay     what thresholds would have lent of calls that were made all the same

It stands above drawing, which knows of it only that a call may be lent a sample, and below the drivers.
"""
