"""Measure backends on questions with known answers."""
