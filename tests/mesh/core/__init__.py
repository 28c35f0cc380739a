"""Laws of the mesh core."""
