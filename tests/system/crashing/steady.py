"""A service that starts in no time, and the command of its stages; on the standard library.

`steady.py serve PORT VERSION JOURNAL` answers with its version: 3.x ends at once, 4.x is well until
a user has come and goes on answering. `steady.py work SECONDS JOURNAL` is busy for so long. Both
first tell the journal, durably, of the effect that started them.
"""

import os
import socket
import sys
import threading
import time

BACKLOG = 1024
HEAD_BYTES = 8192


def main() -> None:
    verb, *options, journal = sys.argv[1:]
    note(journal)
    if verb == "work":
        time.sleep(float(options[0]))
    else:
        serve(int(options[0]), options[1])


def serve(port: int, version: str) -> None:
    if version.startswith("3."):
        raise SystemExit(3)
    well = threading.Event()
    well.set()
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=answer, args=(client, version, well), daemon=True).start()


def answer(client: socket.socket, version: str, well: threading.Event) -> None:
    with client:
        client.settimeout(10)
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES:
            if not (piece := client.recv(HEAD_BYTES)):
                return
            head += piece
        is_check = head.startswith(b"GET /healthz ")
        if version.startswith("4.") and not is_check:
            well.clear()
        status = b"503 Unwell" if is_check and not well.is_set() else b"200 OK"
        body = version.encode()
        client.sendall(
            b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (status, len(body), body)
        )


def note(journal: str) -> None:
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    line = f"{os.environ['SHIPSLOG_EFFECT_KEY']} {os.environ['SHIPSLOG_FENCE']}\n"
    os.write(file, line.encode())
    os.fsync(file)
    os.close(file)


if __name__ == "__main__":
    main()
