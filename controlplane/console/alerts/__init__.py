"""Pages of alerts: rules and channels are configured in `admin`, alerts and deliveries are read in `log_admin`."""
