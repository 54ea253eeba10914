"""A server that takes uploads as the Hugging Face Hub does, as far as a folder's upload asks for it."""

import base64
import hashlib
import http.server
import json
import threading

COMMIT = "c" * 40


class HubServer:
    """Repositories by name: `private`, and `files`, path -> bytes. Requests need `token`; a context manager.

    Args:
        token: the one that may write; `reader` may ask, but not write.
    """

    def __init__(self, token="hf_writes", reader="hf_reads"):
        self.token, self.reader = token, reader
        self.repositories, self.requests, self.blobs = {}, [], {}
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
                path = self.path.partition("?")[0]
                hub.requests.append((self.command, path))
                status, answer, headers = hub.answer(self.command, path, body, self.headers.get("Authorization", ""))
                data = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def _chunks(self):
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            do_GET = do_POST = do_PUT = _answer

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method, path, body, authorization):
        token = authorization.removeprefix("Bearer ")
        if method == "PUT" and path.startswith("/blobs/"):
            self.blobs[path.rpartition("/")[2]] = body
            return 200, {}, {}
        if token not in (self.token, self.reader):
            return 401, {"error": "Invalid credentials in Authorization header"}, {}
        if path == "/api/whoami-v2":
            return 200, {"type": "user", "name": "me", "auth": {}}, {}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if method == "GET" and path.startswith("/api/models/"):
            return self._info(path.removeprefix("/api/models/"))
        if token != self.token:
            return 403, {"error": "You don't have the rights to write"}, {}
        given = json.loads(body) if not path.endswith("/commit/main") else None
        if path == "/api/repos/create":
            name = f"{given['organization'] or 'me'}/{given['name']}"
            self.repositories[name] = {"private": given["visibility"] == "private", "files": {}}
            return 200, {"url": f"{self.url}/{name}", "name": name, "id": "1"}, {}
        if path.endswith("/preupload/main"):
            files = [
                {"path": each["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular"}
                for each in given["files"]
            ]  # fmt: skip
            return 200, {"files": files}, {}
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.url}/blobs/{each['oid']}"}}}
                for each in given["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}, {}
        if path.endswith("/commit/main"):
            return self._commit(path.removeprefix("/api/models/").removesuffix("/commit/main"), body)
        return 404, {"error": f"no such page {path}"}, {}

    def _info(self, name):
        if name not in self.repositories:
            return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        held = self.repositories[name]
        return 200, {"_id": "1", "id": name, "sha": COMMIT, "private": held["private"], "tags": []}, {}

    def _commit(self, name, body):
        for line in body.decode().splitlines():
            each = json.loads(line)
            value = each["value"]
            if each["key"] == "file":
                self.repositories[name]["files"][value["path"]] = base64.b64decode(value["content"])
            elif each["key"] == "lfsFile":
                data = self.blobs[value["oid"]]
                assert hashlib.sha256(data).hexdigest() == value["oid"]
                assert len(data) == value["size"]
                self.repositories[name]["files"][value["path"]] = data
        return 200, {"commitUrl": f"{self.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True}, {}
