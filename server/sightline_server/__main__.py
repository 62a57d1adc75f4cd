"""`python -m sightline_server`: the server's commands without the console script."""

from sightline_server.cli.serve import main

if __name__ == "__main__":
    main()
