"""The pool's keys: files, passphrases, signing from elsewhere."""
