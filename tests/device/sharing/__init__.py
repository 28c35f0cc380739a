"""Tests of models on their way."""
