"""What people see of an evaluation: a table for the terminal, and one page to send to others."""

from hangtag.report.page import write_report
from hangtag.report.table import summary_table

__all__ = ["summary_table", "write_report"]
