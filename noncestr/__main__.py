"""`python -m noncestr`."""

from noncestr.cli import main

main()
