"""Mutation testing: each place of the fold is altered, one at a time, and a test has to notice.

A mutant that no test notices survives.  Either a test is missing, or the code can do without what was altered, or the
alteration makes no difference; only the last may stay, with its reason in `survivors.txt`.  The mutations are mutmut's
and a few of ours (`mutants.py`); each runs in a process forked from one that has everything else loaded (`trial.py`),
against the quick tests that `subjects.py` names.  `make mutants` runs it; start reading at `__main__.py`.
"""
