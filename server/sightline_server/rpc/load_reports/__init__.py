"""ORCA load reports (Open Request Cost Aggregation): the load of this process, for balancers that weight replicas."""
