"""What sending to WebRTC viewers costs, beside stock aiortc; sender and viewers are processes."""
