"""The servers: HTTP with the page, API, WHEP, WHIP and HLS, and RTSP; and the streams behind them."""
