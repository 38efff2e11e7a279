"""The report: one page that shows what a cache holds, cost and saved, and its samples beside each other.

::

    data      what the page shows, as plain data
    readable  answers and canonical arguments as text that a person reads
    collect   reads a cache into that data, within bounds
    page      that data into one HTML file, with report.html, report.css and the scripts beside them

The live page (`memollm.ui`) has the same data, style and scripts, and some of its own.
"""

from memollm._views.report.collect import Bounds, collect
from memollm._views.report.data import Report
from memollm._views.report.page import MARK, page

__all__ = ["MARK", "Bounds", "Report", "collect", "page"]
