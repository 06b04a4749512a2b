"""RTP and RTCP: packets, access units, clocks; no sockets."""
