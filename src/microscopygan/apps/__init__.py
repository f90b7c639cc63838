"""Thin doors to the rooms: the command line and the demo; no science here."""
