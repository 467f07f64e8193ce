"""PostgreSQL's own regression and isolation suites against the writer endpoint of a cluster in local mode."""
