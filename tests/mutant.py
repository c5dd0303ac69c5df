"""Runs simulated seeds until one fails, in a process whose `chillflow` is a mutated copy: says which seed caught it."""

import sys

from tests.simulated import run


def main() -> None:
    for seed in range(int(sys.argv[1])):
        try:
            run(seed)
        except AssertionError as error:
            print(str(error).splitlines()[0])
            sys.exit(1)
    print("survived")


if __name__ == "__main__":
    main()
