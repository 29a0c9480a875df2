"""The embedded broker: a kombu transport with RabbitMQ's semantics in one SQLite file."""
