"""Tests of what the daemon decides."""
