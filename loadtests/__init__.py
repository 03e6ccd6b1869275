"""Load tests: checkouts, an OMS and a warehouse over gRPC, in the shapes of a season's peak; `python -m loadtests` judges a run."""
