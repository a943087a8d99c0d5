"""The report of a run: result files in, one self-contained page, figures and a summary out.

``write_report`` is the entry, ``run_folders`` says of which folders; ``page`` says which module does what.
"""

from logitcache.report.folders import run_folders
from logitcache.report.page import write_report

__all__ = ["run_folders", "write_report"]
