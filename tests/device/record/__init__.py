"""The record as its owner reads and writes it."""
