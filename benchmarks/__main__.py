"""``python -m benchmarks [NAME...]``: every comparison, or those that are named; each writes its results/<name>.json."""

import runpy
import sys

COMPARISONS = ("merging", "s3", "likelihood")


def main(names: list[str]) -> int:
    """Run the comparisons one after another; 2 for a name that is none of them."""
    unknown = sorted(set(names) - set(COMPARISONS))
    if unknown:
        print(f"There is no comparison {unknown[0]!r}; there are {', '.join(COMPARISONS)}.", file=sys.stderr)
        return 2
    for name in names or COMPARISONS:
        sys.argv = [f"benchmarks.{name}"]
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
