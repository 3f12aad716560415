"""Matching: vectors against the watchlist, and the alert when the evidence of a track is enough."""
