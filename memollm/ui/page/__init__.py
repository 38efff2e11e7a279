"""The parts of the live page that the report has not: its frame, its style and its scripts."""
