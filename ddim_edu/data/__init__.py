"""Data sets, and pictures of what comes out."""
