"""Whole hearths as people run them: `hearth serve` processes, driven through the command line.

Nothing here imports the product; start reading at `hearths.py`, then `demo.py`.
"""
