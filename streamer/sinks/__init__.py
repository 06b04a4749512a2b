"""Where packets and frames leave."""
