"""Two replicas behind Envoy, under load, while one of them is killed, drained or frozen."""
