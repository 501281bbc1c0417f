"""The answers as one drill-down tree: rows in two views, sorted and filtered. Draws nothing."""
