"""The browser client and the small HTTP server that serves it with the read API."""
