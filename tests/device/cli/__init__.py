"""Tests of the `hearth` command."""
