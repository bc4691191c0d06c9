"""Saved models, read and written."""
