"""A service with one fault, on the standard library: `faulty.py PORT FAULT [VALUE]`.

`slow S` and `drip S` answer checks after S seconds, at once or byte by byte; `flood` never ends an
answer; `ends S` and `ends-well S` exit with 7 so long after their start, unwell or well till then;
`wrong` answers users with 500; `forks MARK` leaves a process behind that says MARK; `tells NAME`
prints that variable all the time.
"""

import os
import socket
import subprocess
import sys
import threading
import time

BACKLOG = 1024
HEAD_BYTES = 8192
PIECES = 10
GONE = 7


def main() -> None:
    port, fault, *values = int(sys.argv[1]), *sys.argv[2:]
    value = values[0] if values else ""
    if fault.startswith("ends"):
        end_after(float(value))
    if fault == "forks":
        fork_twice(value)
    if fault == "tells":
        threading.Thread(target=tell, args=(os.environ[value],), daemon=True).start()
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=answer, args=(client, fault, value), daemon=True).start()


def answer(client: socket.socket, fault: str, value: str) -> None:
    with client:
        client.settimeout(60)
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES:
            if not (piece := client.recv(HEAD_BYTES)):
                return
            head += piece
        if head.startswith(b"GET /healthz "):
            answer_check(client, fault, value)
        else:
            send(client, b"500 Wrong" if fault == "wrong" else b"200 OK")


def answer_check(client: socket.socket, fault: str, value: str) -> None:
    if fault == "slow":
        time.sleep(float(value))
    if fault == "drip":
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PIECES)
        for _ in range(PIECES):
            time.sleep(float(value) / PIECES)
            client.sendall(b".")
    elif fault == "flood":
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            client.sendall(b"." * 65_536)
    else:
        send(client, b"503 Unwell" if fault == "ends" else b"200 OK")


def send(client: socket.socket, status: bytes) -> None:
    client.sendall(b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)


def end_after(seconds: float) -> None:
    def end() -> None:
        sys.stdout.write("it is over\n")
        sys.stdout.flush()
        os._exit(GONE)

    threading.Timer(seconds, end).start()


def fork_twice(mark: str) -> None:
    if not os.fork():
        os.setsid()
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", mark])
        os._exit(0)
    os.wait()


def tell(secret: str) -> None:
    while True:
        sys.stdout.write(f"the password is {secret}\n")
        sys.stdout.flush()
        time.sleep(0.1)


if __name__ == "__main__":
    main()
