"""Generators of the files that are made from the rules; not part of the package."""
