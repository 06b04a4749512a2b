"""What the tests of ``streamer.child`` run as a child: it does what each message says."""

from __future__ import annotations

import subprocess
import sys
import time

from streamer.child import Message, read_message, write_message


def main() -> None:
    while (message := read_message(sys.stdin.buffer)) is not None:
        wish = message.head["do"]
        if wish == "echo":
            write_message(sys.stdout.buffer, message)
        elif wish == "chatter":
            sys.stderr.write("x" * 300_000 + "\nlast words\n")
            sys.stderr.flush()
            write_message(sys.stdout.buffer, Message({"done": True}))
        elif wish == "garbage":
            sys.stdout.buffer.write(b"\xff" * 64)
            sys.stdout.buffer.flush()
        elif wish == "list":
            sys.stdout.buffer.write(b"\0\0\0\2\0\0\0\0[]")
            sys.stdout.buffer.flush()
        elif wish == "hang":
            grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            write_message(sys.stdout.buffer, Message({"grandchild": grandchild.pid}))
            time.sleep(600)
        elif wish == "exit":
            sys.exit(7)


if __name__ == "__main__":
    main()
