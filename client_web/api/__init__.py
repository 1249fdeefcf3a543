"""The read API, /api/v1: routers by noun, what they answer, how often they may be asked."""
