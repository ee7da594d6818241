"""The test harness of a real OpenStack: what `up` and `service` do inside its namespaces."""
