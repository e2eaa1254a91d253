"""A result to look at: one HTML file, figures for papers, a view for notebooks."""

from efield.report.figures import save_figures
from efield.report.notebook import view
from efield.report.page import write_report

__all__ = ["save_figures", "view", "write_report"]
