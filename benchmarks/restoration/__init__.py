"""The benchmark of restoration: ten pairs or none, all methods on the same terms.

``python -m benchmarks.restoration DATA -o OUT``; ``docs/benchmark.md`` states the protocol.
"""
