"""`python -m fastrnn`: the command line, which is in cli/app.py."""

from fastrnn.cli.app import main

if __name__ == "__main__":
    main()
