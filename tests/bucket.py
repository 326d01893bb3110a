"""A stand-in for Google Cloud Storage on loopback: the part of its JSON API that is used here.

python tests/bucket.py PORT BUCKET…

The bucket "forbidden" answers 403. `Storage.faults` are statuses for the next requests, in order.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import parse_qsl, unquote, urlsplit

ROUTES = re.compile(
    r"(?:/download|/upload|/resumable)?/storage/v1/b/(?P<bucket>[^/]+)"
    r"(?P<objects>/o(?:/(?P<name>[^/]+)(?:/(?:copyTo/b/|rewriteTo/b/|(?P<moved>moveTo))"
    r"(?P<to>[^/]*)/o/(?P<new>.+))?)?)?"
)


class Storage(ThreadingHTTPServer):
    """Buckets of objects: {bucket: {name: (generation, content)}}, and what was asked of them."""

    daemon_threads = True

    def __init__(self, *buckets: str, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.buckets = {name: {} for name in (*buckets, "forbidden")}
        self.faults, self.asked, self.uploads = [], [], {}
        self.lock, self.generation = threading.Lock(), time.time_ns() // 1000
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_) -> None:
        """Clients drop requests that another has answered for them."""

    def put(self, bucket: str, name: str, content: bytes) -> dict:
        self.generation = max(self.generation + 1, time.time_ns() // 1000)
        self.buckets[bucket][name] = (self.generation, content)
        return self.described(bucket, name)

    def described(self, bucket: str, name: str) -> dict:
        generation, content = self.buckets[bucket][name]
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(generation / 1e6))
        moment += f".{generation // 1000 % 1000:03d}Z"
        return {
            "kind": "storage#object", "bucket": bucket, "name": name, "size": str(len(content)),
            "id": f"{bucket}/{name}/{generation}", "generation": str(generation),
            "metageneration": "1", "updated": moment, "timeCreated": moment,
            "etag": str(generation), "contentType": "application/octet-stream",
            "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
        }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Storage

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = dict(parse_qsl(url.query))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.asked.append(f"{self.command} {url.path}")
            if self.server.faults:
                return self.fail(self.server.faults.pop(0), "try again later")
            if not (route := ROUTES.fullmatch(url.path)):
                return self.fail(400, f"no such call: {self.path}")
            words = {key: unquote(word) for key, word in route.groupdict().items() if word}
            if words["bucket"] == "forbidden":
                return self.fail(403, "does not have storage.objects.get access")
            if words["bucket"] not in self.server.buckets:
                return self.fail(404, "The specified bucket does not exist.")
            if url.path.startswith(("/upload", "/resumable")):
                return self.upload(words["bucket"])
            if "objects" not in words:
                return self.send({"kind": "storage#bucket", "name": words["bucket"]})
            if "name" not in words:
                return self.list(words["bucket"])
            return self.object(words)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def object(self, words: dict) -> None:
        bucket, name = words["bucket"], words["name"]
        stored = self.server.buckets[bucket].get(name)
        if stored is None:
            return self.fail(404, f"No such object: {bucket}/{name}")
        if self.refused(stored[0]):
            return None
        if self.command == "DELETE":
            del self.server.buckets[bucket][name]
            return self.send(None, 204)
        if "new" in words:
            resource = self.server.put(words.get("to", bucket), words["new"], stored[1])
            if "moved" in words:
                del self.server.buckets[bucket][name]
                return self.send(resource)
            return self.send(
                {"kind": "storage#rewriteResponse", "done": True, "resource": resource}
            )
        if self.query.get("alt") == "media":
            return self.media(*stored)
        return self.send(self.server.described(bucket, name))

    def media(self, generation: int, content: bytes) -> None:
        extra, status = {"x-goog-generation": str(generation), "ETag": str(generation)}, 200
        if wanted_range := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            start, end = wanted_range.groups()
            first = int(start) if start else max(0, len(content) - int(end))
            last = min(int(end), len(content) - 1) if start and end else len(content) - 1
            if first >= len(content):
                return self.fail(416, "out of range")
            extra["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content, status = content[first : last + 1], 206
        return self.send(content, status, extra)

    def list(self, bucket: str) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter")
        after = max(self.query.get("pageToken", ""), self.query.get("startOffset", ""))
        items, prefixes, last = [], set(), None
        for name in sorted(self.server.buckets[bucket]):
            if (
                not name.startswith(prefix)
                or name < after
                or name >= self.query.get("endOffset", "￿")
            ):
                continue
            if len(items) == int(self.query.get("maxResults", 1000)):
                last = name
                break
            inside = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if inside[1]:
                prefixes.add(prefix + inside[0] + inside[1])
            else:
                items.append(self.server.described(bucket, name))
        listed = {"items": items, "prefixes": sorted(prefixes), "nextPageToken": last}
        self.send({key: value for key, value in listed.items() if value})

    def upload(self, bucket: str) -> None:
        name, content, kind = self.query.get("name"), self.body, self.query.get("uploadType")
        if "part" in self.query:
            begun = self.server.uploads.setdefault(self.query["part"], [])
            begun.append(content)
            byte_range = self.headers.get("Content-Range", "bytes 0-0/0")
            if byte_range.endswith("/*") or int(byte_range.split("/")[1]) > sum(map(len, begun)):
                return self.send(None, 308, {"Range": f"bytes=0-{sum(map(len, begun)) - 1}"})
            content = b"".join(begun)
        elif kind == "resumable":
            name = name or json.loads(self.body)["name"]
            where = f"{self.server.url}/resumable/storage/v1/b/{bucket}/o?name={name}"
            where += f"&part={self.server.generation}-{len(self.server.uploads)}"
            return self.send(None, 200, {"Location": where})
        elif kind == "multipart":
            boundary = b"--" + self.headers.get_boundary().encode()
            _, described, part, _ = self.body.split(boundary)
            blank = b"\r\n\r\n" if b"\r\n\r\n" in described else b"\n\n"
            name = name or json.loads(described.split(blank, 1)[1])["name"]
            content = part.split(blank, 1)[1].removesuffix(blank[: len(blank) // 2])
        if self.refused(self.server.buckets[bucket].get(name, (0,))[0]):
            return None
        return self.send(self.server.put(bucket, name, content))

    def refused(self, generation: int) -> bool:
        """Whether a precondition on the generation does not hold; then it has been answered."""
        match = self.query.get("ifGenerationMatch")
        other = self.query.get("ifGenerationNotMatch")
        if match is not None and int(match) != generation:
            self.fail(412, "At least one of the pre-conditions you specified did not hold.")
        elif other is not None and int(other) == generation:
            self.send(None, 304)
        else:
            return False
        return True

    def fail(self, status: int, message: str) -> None:
        self.send({"error": {"code": status, "message": message}}, status)

    def send(self, value, status: int = 200, extra=()) -> None:
        content = json.dumps(value).encode() if isinstance(value, dict) else value or b""
        self.send_response(status)
        for name, text in dict(extra).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


def variables(url: str) -> dict[str, str]:
    """The environment of a process that takes it for Google's."""
    return {
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
    }


@contextlib.contextmanager
def serving(*buckets: str):
    """A storage that this process, and those it starts, take for Google's."""
    from eqssl_jax import buckets as known

    storage = Storage(*buckets)
    threading.Thread(target=storage.serve_forever, daemon=True).start()
    with mock.patch.dict(os.environ, variables(storage.url)):
        known.files.cache_clear()
        known._check_bucket.cache_clear()
        yield storage
    storage.shutdown()
    storage.server_close()


def main(port: str, *buckets: str) -> None:
    os.setpgid(0, 0)  # a signal to the group of a run is not for the storage
    Storage(*buckets, port=int(port)).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
