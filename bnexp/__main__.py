"""`python -m bnexp` is the command `bnexp`."""

from bnexp.cli import program

if __name__ == "__main__":
    program()
