"""The guest page, in a real browser and by its bytes."""
