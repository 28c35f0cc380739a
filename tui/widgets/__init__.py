"""What is drawn, one widget a file.

Imports Textual and the frozen values of `device.client`.
A widget shows what it is given; it does no I/O and keeps no state that the daemon owns.
Start reading at `facts.py`.
"""
