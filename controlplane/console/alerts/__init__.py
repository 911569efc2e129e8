"""Pages of alert rules, channels, alerts and deliveries."""
