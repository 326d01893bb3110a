"""A folder is pushed through huggingface_hub: to a server of this machine that plays the Hub."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from eqssl_jax.experiment import export as hub

pytest.importorskip("huggingface_hub")


class Hub(BaseHTTPRequestHandler):
    """The endpoints that an upload needs; `server.repositories` is what was pushed."""

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        repositories, path = self.server.repositories, self.path.split("?")[0]
        if path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != "Bearer secret":
            self.answer(401, {"error": "Invalid credentials"})
        elif path == "/api/repos/create":
            request = json.loads(content)
            name = f"{request.get('organization') or 'me'}/{request['name']}"
            private = request.get("private") or request.get("visibility") == "private"
            repositories.setdefault(name, {"private": private, "files": {}})
            self.answer(200, {"url": f"{self.server.address}/{name}", "id": name, "name": name})
        elif path.endswith("/preupload/main"):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(content)["files"]
            ]
            self.answer(200, {"files": files})
        elif path.endswith("/commit/main"):
            name = path.removeprefix("/api/models/").removesuffix("/commit/main")
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    data = base64.b64decode(line["value"]["content"])
                    repositories[name]["files"][line["value"]["path"]] = data
            url = f"{self.server.address}/{name}/commit/1"
            self.answer(200, {"success": True, "commitOid": "1", "commitUrl": url})
        else:
            self.answer(404, {"error": f"no {path}"})

    def do_GET(self):
        name = self.path.split("?")[0].removeprefix("/api/models/").split("/revision")[0]
        exists = name in self.server.repositories
        self.answer(200, {"id": name, "sha": "0", "siblings": []}) if exists else self.answer(
            404, {}
        )

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as made:
        made.address = f"http://127.0.0.1:{made.server_port}"
        made.repositories = {}
        made.daemon_threads = True
        threading.Thread(target=made.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        monkeypatch.setenv("HF_TOKEN", "secret")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield made
        made.shutdown()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "care"
    made.mkdir()
    (made / "README.md").write_text("---\nlibrary_name: jax\n---\n# care\n")
    (made / "encoder.jax").write_bytes(bytes(range(256)) * 40)
    return made


def test_every_file_is_pushed(server, folder):
    assert hub.push(folder, "me/care", private=True) == f"{server.address}/me/care"
    pushed = server.repositories["me/care"]
    assert pushed["private"]
    assert pushed["files"] == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_refusal_is_one_paragraph(server, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises((ValueError, OSError), match="hf auth login") as caught:
        hub.push(folder, "me/care")
    assert "\n" not in str(caught.value)
    assert not server.repositories


def test_a_hub_that_is_not_there(folder, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises((ValueError, OSError), match="was not pushed"):
        hub.push(folder, "me/care")


@pytest.mark.parametrize("name", ["care", "a/b/c", "", "../x", "a/", "https://hub/a/b", "a b/c"])
def test_names_that_are_no_repository(name):
    with pytest.raises(ValueError, match="USER/NAME"):
        hub.check_repository(name)
