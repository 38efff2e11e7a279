"""The report: one page that shows what a cache holds, cost and saved, and its samples beside each other.

::

    _data      what the page shows, as plain data
    _readable  answers and canonical arguments as text that a person reads
    _collect   reads a cache into that data, within bounds
    _page      that data into one HTML file, with report.html, report.css and the scripts beside them
"""

from memollm.cli._report._collect import Bounds, collect
from memollm.cli._report._data import Report
from memollm.cli._report._page import MARK, page

__all__ = ["MARK", "Bounds", "Report", "collect", "page"]
