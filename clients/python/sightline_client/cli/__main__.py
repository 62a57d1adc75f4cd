"""`python -m sightline_client.cli`: the `sightline` command without the console script."""

from sightline_client.cli import main

if __name__ == "__main__":
    main()
