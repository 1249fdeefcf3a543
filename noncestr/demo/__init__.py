"""The demo of `noncestr up`: miners, wallets and a mint beside the pool."""
