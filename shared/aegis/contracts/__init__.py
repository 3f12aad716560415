"""What is said on the bus: messages, subjects, codec and the alert life cycle. Pure; the API of integrators."""
