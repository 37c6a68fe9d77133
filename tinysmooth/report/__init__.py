"""``report.md``: a run in sentences that a beginner understands, and in pictures."""

from tinysmooth.report.sentences import PICTURES
from tinysmooth.report.writer import save_figure, write_report, write_stopped_report

__all__ = ["PICTURES", "save_figure", "write_report", "write_stopped_report"]
