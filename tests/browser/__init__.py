"""The admin in a real browser: headless Chromium against a live server."""
