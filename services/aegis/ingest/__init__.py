"""ingest: holds the cameras and publishes their frames."""
