"""Backups: all streams that are kept, in one sealed file, and back from it."""
