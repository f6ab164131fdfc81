"""`python cli.py ...` is `bench ...` from a bare checkout."""

from bench.cli import main

if __name__ == "__main__":
    main()
