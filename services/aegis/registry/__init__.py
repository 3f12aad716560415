"""The registry: the one writer of watchlist, cameras and policy."""
