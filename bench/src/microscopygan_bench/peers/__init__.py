"""Other programs: scripts that run in virtual environments of their own, and what they share."""
