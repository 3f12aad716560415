"""The only shared I/O: service runner, bus, leases, settings, health, metrics, logs, sealing, models."""
