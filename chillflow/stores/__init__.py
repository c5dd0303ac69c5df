"""The only importers of drivers: PostgreSQL, Redis, Kafka and the lake's filesystems."""
