"""LISA itself: the checkpoints, on torch."""
