"""Fuzzing: every parser that takes bytes from outside, one entry point each, `(bytes) -> None`.

An entry point may raise nothing but the documented errors of its parser, which it takes itself; whatever comes out of
it is a defect.  `python -m tests.fuzz` runs them under atheris (coverage-guided) where there is a wheel of it, else
under plain mutation; `test_fuzz.py` runs the seeds, what was once found (`corpus/`), and some mutations of both.
Start reading at `target.py`, then `of_mesh.py`.
"""
