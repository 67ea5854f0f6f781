"""Many small transfers at once, all of them ended by the first that fails for good."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from components.common.s3_client import CONNECTIONS, StoppedError

Task = Callable[[threading.Event], None]


def run_all(tasks: Iterable[Task]) -> None:
    """Run the tasks on as many threads as there are connections; each is given the event that tells it to stop.

    Raises the first error, after the tasks at work have noticed it; nothing goes on in the background.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        try:
            futures = [pool.submit(task, stop) for task in tasks]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            errors = [error for future in done if (error := future.exception()) is not None]
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    if errors:
        raise next((error for error in errors if not isinstance(error, StoppedError)), errors[0])
