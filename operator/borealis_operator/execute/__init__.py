"""Effects: each action of a course carried out, in order, against the Kubernetes API and the agents."""
