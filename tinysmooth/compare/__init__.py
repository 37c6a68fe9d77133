"""Comparing trainings: a grid of runs, in turn or side by side, and what their differences say."""

from tinysmooth.compare.cell import CellResult, measure, read_result, run_cell
from tinysmooth.compare.driver import Comparison, compare
from tinysmooth.compare.executors import open_executor
from tinysmooth.compare.grid import Cell, Grid
from tinysmooth.compare.published import Published, fill_in, publish, read_published, start_from
from tinysmooth.compare.report import write_report
from tinysmooth.compare.statistics import PairedDifference, paired_difference, student_t_quantile

__all__ = [
    "Cell",
    "CellResult",
    "Comparison",
    "Grid",
    "PairedDifference",
    "Published",
    "compare",
    "fill_in",
    "measure",
    "open_executor",
    "paired_difference",
    "publish",
    "read_published",
    "read_result",
    "run_cell",
    "start_from",
    "student_t_quantile",
    "write_report",
]
