"""The Stratum edge: miners in front, signed job, share and block events behind."""
