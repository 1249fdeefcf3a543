"""Reaching the operator through apprise, over HTTP on this machine."""

import socketserver
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from noncestr.alerts.operator_line import MAX_SERVICES, OperatorLine, read_services
from noncestr.errors import NoncestrError


@pytest.fixture
def ntfy():
    """A server that takes what is posted; gives its port and what came."""
    came = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(500 if "broken" in self.path + came[-1][2] else 200)
            self.end_headers()

        def log_message(self, *args):
            del args

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, came
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.anyio
async def test_told(ntfy):
    port, came = ntfy
    line = OperatorLine([f"json://127.0.0.1:{port}/one", f"ntfy://127.0.0.1:{port}/topic"])
    assert await line.send("Example: 1 alerts", "the disk is full") == []
    assert len(came) == 2
    assert all("the disk is full" in body for _, _, body in came)


@pytest.mark.anyio
async def test_one_that_does_not_take_it(ntfy, free_tcp_port):
    port, came = ntfy
    line = OperatorLine(
        [f"json://127.0.0.1:{free_tcp_port}/", f"json://127.0.0.1:{port}/broken", f"json://127.0.0.1:{port}/"]
    )
    assert await line.send("t", "x") == ["json", "json"]
    assert came[-1][0] == "/"


def test_secrets_stay_out_of_messages(tmp_path):
    with pytest.raises(NoncestrError) as caught:
        OperatorLine(["nonsense://user:hunter2@host"])
    assert "nonsense" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    path = tmp_path / "services"
    path.write_text("# ours\n\njson://127.0.0.1:1/hunter2\n")
    path.chmod(0o644)
    with pytest.raises(NoncestrError, match="chmod 600") as caught:
        read_services(path)
    assert "hunter2" not in str(caught.value)
    path.chmod(0o600)
    assert "hunter2" not in repr(read_services(path))


def test_a_file_that_names_nothing(tmp_path):
    path = tmp_path / "services"
    path.write_text("# nothing\n")
    path.chmod(0o600)
    with pytest.raises(NoncestrError, match=f"1 to {MAX_SERVICES}"):
        read_services(path)
    with pytest.raises(NoncestrError, match="cannot read"):
        read_services(tmp_path / "none")


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as takes one mail."""

    def handle(self):
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += self.rfile.readline()
                self.server.mails.append(text)
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


@pytest.mark.anyio
async def test_lines_stay_lines_in_a_mail():
    """apprise takes a text for HTML unless it is told: all of it would arrive as one line."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.mails = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            line = OperatorLine([f"mailto://127.0.0.1:{server.server_address[1]}?to=op@a.example&from=pool@a.example"])
            assert await line.send("payouts blocked", "the node is away\n<b>& a second line</b>") == []
        finally:
            server.shutdown()
            thread.join()
        [mail] = server.mails
    head, _, body = mail.partition(b"\r\n\r\n")
    assert b"Content-Type: text/plain" in head
    assert body.split(b"\r\n")[:2] == [b"the node is away", b"<b>& a second line</b>"]
