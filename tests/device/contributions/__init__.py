"""Contributions between nodes: real records and real files; the mesh is simulated, and real in test_nodes.py."""
