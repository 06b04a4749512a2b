"""HTTP: the page, the streams' numbers and WHEP signalling."""
