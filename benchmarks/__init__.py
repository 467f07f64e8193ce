"""Commands that print numbers. `python -m benchmarks` is the whole of `make bench`; see docs/performance.md."""
