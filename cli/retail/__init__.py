"""The retail simulation: a file of real order lines, a plan made from it, and an auditor of what came out."""
