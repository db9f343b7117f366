"""Reports: one self-contained HTML page about a program, whole or not.

`reading` gathers what is known (`Contents`), the other files turn parts of it into rows and pictures, `page` fills the
templates.
"""

from plena.report.contents import Contents, Missing
from plena.report.page import page_of, write_report

__all__ = ["Contents", "Missing", "page_of", "write_report"]
