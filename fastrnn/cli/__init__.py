"""What the commands of `fastrnn` do and print; see app.py."""
