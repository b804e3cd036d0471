"""Benchmarks: ratios of interleaved pairs, with their conditions, saved as JSON. Nothing here is asserted."""
