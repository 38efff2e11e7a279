"""From a call to its key: who the function is, what its code reads, and one canonical text for its arguments."""
