"""Controllers: what Kubernetes' control plane does beside the API, each a level-triggered pass over all objects."""
