"""Tests of the pure half of models."""
