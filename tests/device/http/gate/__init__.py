"""Who gets in at which door of a whole node."""
