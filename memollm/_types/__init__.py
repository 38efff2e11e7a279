"""The small types that travel between the rooms, and words that all of them share."""
