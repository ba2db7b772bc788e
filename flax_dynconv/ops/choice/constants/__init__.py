"""Seconds for each unit of every kind of work, one table per platform."""
