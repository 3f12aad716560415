"""Notifying: people are told of alerts by mail, systems by signed webhooks, each recipient on its own."""
