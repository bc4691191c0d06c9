"""Drawn faces, of which every attribute is known."""
