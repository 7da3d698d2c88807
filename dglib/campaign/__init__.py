"""Many seeds: jobs, one scheduler over local processes or a cluster, notebooks, status."""
