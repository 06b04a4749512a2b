"""What a made frame costs, step by step, by what is compiled for the processor and by OpenCV."""
