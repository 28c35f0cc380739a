"""Benchmarks: printed and written to build/bench, never passed or failed.

Each area is a module with `rows()`; peers run interleaved in the same run, figures are medians.
Start reading at `rows.py`, then `__main__.py`.
"""
