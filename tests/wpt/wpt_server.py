"""tests/wpt/wpt_server.py - the checkout's own server, wptserve, on loopback.

As a module: `with Server(checkout) as server:` starts it and ends it.  As a program (that is how the module starts it, for
the checkout's code starts processes of its own): serves until its standard input is closed.  Each of those processes
has that input as well and ends by itself, so that none stays when the others, or who asked for them, were killed.
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

HOST = "web-platform.test"
OTHER_HOST = "not-web-platform.test"
START_S = 60
UNUSED = ("http-local", "http-public", "https-local", "https-public", "h2", "webtransport-h3", "dns")


class Server:
    def __init__(self, checkout):
        self.checkout = os.path.abspath(checkout)

    def __enter__(self):
        *self.ports, ws, wss = free_ports(6)
        self.folder = tempfile.TemporaryDirectory(prefix="muster-wpt-")
        config = os.path.join(self.folder.name, "config.json")
        with open(config, "w", encoding="utf-8") as file:
            json.dump({
                "browser_host": HOST, "alternate_hosts": {"alt": OTHER_HOST}, "server_host": "127.0.0.1",
                "bind_address": True, "check_subdomains": False,
                "ports": {"http": self.ports[:2], "https": self.ports[2:], "ws": [ws], "wss": [wss],
                          **{name: [] for name in UNUSED}},
            }, file)
        self.log = open(os.path.join(self.folder.name, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), self.checkout, config],
                                        stdin=subprocess.PIPE, stdout=self.log, stderr=self.log,
                                        start_new_session=True)
        try:
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()

    def wait_until_ready(self):
        deadline = time.monotonic() + START_S
        for port in self.ports:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        self.log.seek(0)
                        raise RuntimeError(f"wptserve did not start:\n{self.log.read()[-2000:]}") from None
                    time.sleep(0.05)

    def origin(self, is_https):
        return f"https://{HOST}:{self.ports[2]}" if is_https else f"http://{HOST}:{self.ports[0]}"

    @property
    def authority(self):
        """The certificate that the server's are signed with."""
        return os.path.join(self.checkout, "tools", "certs", "cacert.pem")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def serve(checkout, config):
    sys.path.insert(0, checkout)
    os.chdir(checkout)
    from tools import localpaths # noqa: F401  puts the checkout's own modules on the path
    from tools.serve import serve as wptserve

    wptserve.run(venv=None, config_path=config, h2=False)


def watch_input():
    threading.Thread(target=end_with_input, daemon=True).start()


def end_with_input():
    while os.read(0, 4096): # not by way of sys.stdin: its lock would be held in the processes that are forked
        pass
    os._exit(0) # at once: nothing that they serve is worth a word of farewell


if __name__ in ("__main__", "__mp_main__"): # the latter is a process that the checkout's code started
    os.register_at_fork(after_in_child=watch_input)
    watch_input()
if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
