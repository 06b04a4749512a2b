"""What is done to pictures outside of networks."""
