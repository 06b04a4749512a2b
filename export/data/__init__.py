"""Training data: clips and images become cached pairs of damaged and original patches."""
