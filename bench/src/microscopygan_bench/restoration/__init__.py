"""The benchmark of restoration: ten pairs or none, all methods on the same terms.

``microscopygan-bench restoration DATA -o OUT``; ``docs/benchmark.md`` states the protocol.
"""
