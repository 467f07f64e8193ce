"""Borealis on a real Kubernetes: each scenario of what must hold is one test, its figures are in `out/report.json`."""
