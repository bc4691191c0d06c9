"""How good samples are, and how sure of it one can be."""
