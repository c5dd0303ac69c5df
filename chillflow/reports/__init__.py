"""The report: KPI frames to figures (a table and its charts each), and figures to one page or to files."""
