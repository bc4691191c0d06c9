"""Recipes, and what trains after them."""
