"""Ask each of the addresses given; say in one line what it answered, and fail if one does not answer well."""

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

TRIES = 5


def ask(address: str) -> str:
    """An empty text for a good answer, else what went wrong and what to look at."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        hint = "; the server does not know this host name: add it to mlflow.allowedHosts" if error.code == 403 else ""
        return f"answered {error.code}{hint}"
    except OSError as error:
        return f"cannot be reached ({error}); look at the pod behind it and at the network policies"
    return ""


def main(addresses: Sequence[str], pause: float = 3) -> int:
    """Try each address a few times, ``pause`` seconds apart, for services that are just starting; 1 if one stays bad."""
    failed = 0
    for address in addresses:
        for attempt in range(TRIES):
            problem = ask(address)
            if not problem:
                break
            time.sleep(pause if attempt + 1 < TRIES else 0)
        print(f"{'failed' if problem else 'ok'}: {address} {problem}".rstrip(), flush=True)
        failed += bool(problem)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
