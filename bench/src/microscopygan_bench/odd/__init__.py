"""The benchmark of odd defects: learned from a few unpaired images of one laboratory.

``microscopygan-bench odd DATA -o OUT``; ``docs/odd-defects.md`` states the protocol.
"""
