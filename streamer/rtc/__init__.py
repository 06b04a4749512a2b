"""WebRTC sessions in both directions: what offers and answers are, and the door to aiortc."""
