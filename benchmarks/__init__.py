"""Measures the engine: `python -m benchmarks` prints what a reserve costs beside an empty server, and what a row, hold and entry weigh."""
