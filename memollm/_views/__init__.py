"""What a cache holds as people read it: answers, calls, runs, transcripts, and the page that shows them.

The command line, the report and the live page stand on it; it writes to nobody.
"""
