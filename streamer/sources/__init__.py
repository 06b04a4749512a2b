"""Where packets and frames enter."""
