"""Reports of a benchmark run: a page that needs no network, a Markdown table, and two runs compared."""

from __future__ import annotations

from benchmarks.report.compare_page import compare_html, compare_md
from benchmarks.report.write import write_report

__all__ = ["compare_html", "compare_md", "write_report"]
