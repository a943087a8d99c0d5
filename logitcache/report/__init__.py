"""The report of a run: result files in, one self-contained page, figures and a summary out.

``write_report`` is the entry; ``page`` says which module does what.
"""

from logitcache.report.page import write_report

__all__ = ["write_report"]
