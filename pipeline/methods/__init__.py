"""One folder per method: its losses, and what it trains and predicts."""
