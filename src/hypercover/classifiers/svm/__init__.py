"""Support vector machines: solvers, grid search and prediction."""
